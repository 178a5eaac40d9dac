"""How instructions to a model are worded, in the languages that attacks are written in.

Data only: (rule, pattern, confidence). Patterns are over UTF-8 bytes, case-insensitive for ASCII;
gaps are counted in bytes, of which a letter of East Asia has three.
"""

from __future__ import annotations

from typing import Final

from fumehood.scan.detector import Confidence

_PAST: Final = (
    r"(?:previous(?:ly)?|prior|above|earlier|preceding|foregoing|existing|original|initial|past|former|system"
    r"|given|current|other|your|developer'?s?|operator'?s?|user'?s?)"
)
_ORDERS: Final = (
    r"(?:instructions?|prompts?|directions?|guidelines?|directives?|commands?|programming|constraints?"
    r"|orders|restrictions|guardrails|safety rules|system rules|rules)"
)
_MODEL: Final = (
    r"(?:ai|a\.i\.|llms?|language models?|(?:ai )?assistants?|ai agents?|ai models?|chat ?bots?|claude|chatgpt"
    r"|gpt-?\d\w*|gemini|copilot|automated (?:agents?|systems?|reviewers?)|ai reviewers?|ai systems?)"
)
_LOOT: Final = (
    r"(?:api[ _-]?keys?|passwords?|credentials?|secrets?|access tokens?|environment variables?|env vars?"
    r"|ssh keys?|private keys?|\.env\b|conversation(?: history)?|chat history|system prompt|user(?:'s)? data"
    r"|/etc/passwd|id_rsa|cookies|session tokens?|files? contents?|contents? of (?:the )?file|wallet)"
)
_TARGET: Final = r"(?:https?://|[\w.+-]{1,64}@[\w-]{1,63}\.|webhook|attacker|this (?:url|address|endpoint|server))"

PHRASES: Final[tuple[tuple[str, str, Confidence], ...]] = (
    # --- English
    (
        "ignore-previous",
        rf"\b(?:ignore|disregard|forget|override|bypass|abandon|neglect|do not (?:follow|obey)|don't follow"
        rf"|stop following|pay no attention to|erase)\s+(?:[\w']+\s+){{0,4}}?{_PAST}\s+(?:[\w']+\s+){{0,3}}?{_ORDERS}\b"
        rf"|\b(?:ignore|disregard|forget|override|bypass)\s+(?:all|any|every)\s+(?:of\s+)?(?:the\s+|your\s+)?(?:instructions?|prompts?|guidelines?|directives?)\b"
        r"|\b(?:ignore|disregard|forget)\s+(?:everything|all|anything)\s+(?:that (?:was|is) |you (?:were|have been) "
        r"(?:told|given)|said )?(?:above|before|previously|prior|earlier|you know|so far|up to (?:now|this point))"
        r"|\b(?:ignore|disregard|forget)\s+(?:the\s+|what\s+the\s+)?user(?:'s)?\s+(?:request|question|query|instructions?|wishes|said|asked|wants)"
        rf"|\b(?:your|the|all|any|those)\s+(?:{_PAST}\s+){{1,2}}(?:guidance|polic(?:y|ies)|safety polic(?:y|ies)|{_ORDERS})\s+(?:(?:above|before)\s+)?"
        r"(?:no longer appl(?:y|ies)|do(?:es)? not apply (?:any ?more|here)|(?:is|are|was|were) (?:now )?(?:void|invalid|obsolete|cancell?ed|revoked|a test)|ha(?:s|ve) been (?:revoked|superseded|replaced|lifted|updated|changed|suspended))"
        r"|\b(?:your|all|any|my|these|those|the) (?:safety |content |above )?(?:rules|instructions|restrictions|constraints|limitations|guidelines)(?: above| below)? (?:are|have been|were) (?:now )?(?:suspended|lifted|void|disabled|revoked|cancell?ed)\b"
        rf"|\b(?:discard|set aside|put aside|drop|scrap|dismiss|disobey)\s+(?:[\w']+\s+){{0,4}}?(?:guidance|context|{_ORDERS})\s+(?:that )?(?:you (?:received|were given|got|had)|(?:from )?(?:before|earlier|above))"
        r"|\b(?:no matter what|regardless of what|whatever) you(?:'ve| have)? (?:were|been) (?:told|instructed|given)\b|\bregardless of (?:your|any|all) (?:previous |prior |other |system )(?:instructions?|rules|guidelines|prompts?)\b"
        r"|\bignore (?:all )?your (?:guidelines|instructions|rules|training|programming|safety \w+|restrictions)\b",
        "high",
    ),
    (
        "new-instructions",
        r"(?:^|[.!?>*#:\]\"]\s{0,3})(?:new|updated|revised|real|actual|true|additional|secret|hidden)\s+(?:system\s+)?"
        r"(?:instructions?|directives?|system prompt|task|objective|orders)\s*(?:from \w+ ?)?"
        rf"(?:for (?:the |any |all )?{_MODEL}\s*)?:\s*\S"
        r"|\b(?:instead|now),? (?:you (?:must|should|will|need to)) (?:only )?(?:follow|obey|execute|comply with)\b"
        r"|\byour (?:new|real|actual|true|only) (?:task|goal|objective|job|instructions?|mission) (?:is|are)\b"
        r"|\bfollow these (?:new |exact |following )?instructions instead\b"
        r"|\bonly (?:obey|follow|listen to) (?:the )?(?:text|instructions?|rules|commands?|orders) (?:in|from|of) this\b"
        r"|\b(?:new|updated|revised) (?:policy|rules?)\s*:\s*(?:you|the assistant)\b|\byou (?:will|must|shall) comply with (?:all|any|every|the following)\b",
        "medium",
    ),
    (
        "role-change",
        r"\b(?:you are|you're|act as|behave as|pretend (?:to be|you are|that you are)|assume the role of|roleplay as"
        r"|respond as|imagine you are|simulate)\s+(?:now\s+)?(?:an?\s+|the\s+|in\s+)?(?:[\w-]+\s+){0,3}?"
        r"(?:DAN\b|jailbroken|unrestricted|unfiltered|uncensored|evil|developer mode|god mode|root terminal"
        r"|hacker|no longer (?:bound|restricted|limited)|without (?:any )?(?:restrictions|limits|filters|rules))"
        r"|\b(?:forget|stop) (?:that )?(?:you are|you're|being) an? (?:ai|assistant|language model|chat ?bot|llm)\b"
        r"|\byou (?:will|must|shall) now (?:act|behave|respond|answer|function) (?:as|like|only)\b"
        r"|\bas (?:if|though) you (?:have|had) no (?:[\w-]+ )?(?:training|rules|restrictions?|limits|filters?|guidelines|polic\w+)\b"
        r"|\byou are (?:now|no longer) (?:an? |the |my )?(?:[\w-]+ ){0,3}?(?:assistant|\bai\b|bot|agent|model|persona"
        r"|admin(?:istrator)?|bound by|restricted|limited by|subject to)"
        r"|\b(?:pretend|imagine|act as if|behave as though|assume) (?:that )?(?:you (?:have|had)|there (?:are|is|were)) no (?:content |safety |ethical )?(?:polic\w+|restrictions?|rules|limits|limitations|filters?|guidelines)"
        r"|\b(?:from now on|from this (?:point|moment) (?:on|forward)),? (?:you (?:are|will|must|should|shall|only)|always (?:respond|answer|reply)|respond|answer|reply)\b",
        "medium",
    ),
    (
        "jailbreak",
        r"\bDAN mode\b|\bdo anything now\b|\b(?:developer|debug|god|maintenance|admin|sudo|root) mode"
        r"(?: is)?(?: now)? (?:enabled|activated|engaged|unlocked)\b"
        r"|\b(?:safety|content|ethical) (?:filters?|guidelines|policies|checks|restrictions|protocols?)"
        r" (?:are |is |have been |has been )?(?:now )?(?:disabled|off|removed|lifted|suspended|deactivated)\b"
        r"|\b(?:disable|turn off|remove|bypass|circumvent) (?:all |any |your |the )?(?:safety|content|security|ethical)"
        r" (?:filters?|guidelines|checks|restrictions|protocols?|measures|policies)\b",
        "medium",
    ),
    (
        "override",
        r"(?:^|[.!?:;\[(<#*>=-]\s{0,3})(?:system|admin(?:istrator)?|security|emergency|priority|developer|root) override\b[ :!\]-]"
        r"|\b(?:important|urgent|critical|mandatory|attention)\s*[:!-]+\s*(?:[\w']+\s+){0,6}?(?:before|when|after|instead of)"
        r"\s+(?:you\s+)?(?:answer|respond|reply|summari[sz]|using|use|call|proceed|continu)\w*"
        r"|\bthis (?:is a |message |instruction |text )?(?:supersedes|overrides|takes precedence over|takes priority over)"
        r" (?:all |any |every )?(?:other |previous |prior |your |system |existing |earlier )(?:[\w]+ ){0,2}?(?:instructions?|prompts?|rules|guidelines|directives|messages)\b",
        "medium",
    ),
    (
        "addressed-to-model",
        rf"\b(?:attention|note|message|instructions?|notice|hey|hello|dear|hi|memo|command)\s*(?:[:,-]\s*)?"
        rf"(?:to|for|,)?\s*(?:the |any |all |every |our |whichever )?{_MODEL}\s*(?:[:,!.-]|\b(?:reading|processing|parsing"
        r"|that (?:reads?|process)|who|only|summari[sz]ing|reviewing|must|should|please)\b)"
        rf"|\b(?:if|when|should) (?:an? |any |the )?{_MODEL} (?:reads?|sees?|process(?:es)?|parses?|is reading|is summari[sz]ing) (?:this|it)\b|\bto (?:the|any|all) {_MODEL}(?: \w+)?\s*:"
        r"|\b(?:do not|don't|must not) summari[sz]e (?:this|the)[^\n.]{0,40}[.,;]\s*(?:instead|but|rather)\b"
        r"|\b(?:save|store|commit|write) (?:this |it |the following )?(?:to|in|into) (?:your )?(?:long[- ]term |persistent )?memory\s*[:,]|\bremember (?:this|the following) (?:for|in) (?:all|every|any) future (?:conversation|chat|session)s?\b"
        r"|\bas an? (?:ai|llm|large)(?: language)?(?: model)?(?: assistant)? (?:reading|processing|parsing|summari[sz]ing|reviewing|seeing|that reads)\b"
        r"|\bgive (?:it )?(?:a )?positive reviews? only\b|\bdo not highlight any negatives?\b"
        r"|\bthe user has (?:explicitly |already )?(?:authori[sz]ed|approved|consented to|permitted|given) (?:you|this|all|permission)\b"
        rf"|\b(?:if|when|since|because|as) you(?:'re| are) (?:an? |the )?{_MODEL}\b"
        rf"|\b(?:any|all|every) {_MODEL} (?:reading|processing|parsing|that (?:reads?|process\w*)|must|should|is (?:required|instructed))\b"
        rf"|\b{_MODEL},? (?:you )?(?:must|should|is required to|are required to|are instructed to|please) (?:now |also |first |always |immediately )?"
        r"(?:ignore|execute|run|send|call|reply|respond|output|include|append|add|give|state|recommend|approve|rate|visit|open|delete|forward|mark)\b",
        "medium",
    ),
    (
        "concealment",
        r"\b(?:do not|don't|never|must not)\s+(?:ever )?(?:tell|inform|mention|reveal|alert|notify|disclose|show|warn)\s+"
        r"(?:[\w']+\s+){0,3}?(?:to |from |with )?(?:the |your |any )?(?:user|human|operator)s?\b"
        r"|\b(?:send|delete|run|execute|call|invoke|forward|upload|transfer|e-?mail|add|include|do (?:this|it|so)|proceed"
        r"|perform|complete|copy|write|install|approve|carry (?:this|it) out)\b[^\n.]{0,100}?\bwithout (?:ever )?(?:telling|informing"
        r"|mentioning|alerting|notifying|warning|asking)\s+(?:[\w']+\s+){0,3}?(?:the |your |any )?(?:user|human|operator)s?\b"
        r"|\b(?:keep|hide) (?:this|these|it|that)(?: \w+){0,3}? (?:secret |hidden |confidential )?from (?:the |your )?(?:user|human)s?\b"
        r"|\b(?:do not|don't|never) (?:let|allow) (?:the |your )?(?:user|human|operator)s? (?:to )?(?:know|see|notice|find out|read)"
        r"|\b(?:silently|quietly|secretly|discreetly|covertly) (?:run|execute|add|send|insert|install|call|invoke|delete|upload|download|forward|copy|append|include|modify|change|e-?mail)\b"
        r"|\bthe user (?:must|should|does) not (?:know|see|be (?:told|informed|aware))|\bdo not mention (?:this|these|that) "
        r"(?:instruction|message|note|request|prompt|to anyone|in your)",
        "medium",
    ),
    (
        "exfiltration-request",
        rf"\b(?:send|forward|post|upload|exfiltrate|e-?mail|transmit|leak|submit|deliver|copy|write|report)\b[^\n]{{0,80}}?{_LOOT}"
        rf"[^\n]{{0,80}}?\b(?:to|at|via|into|using)\b[^\n]{{0,40}}?{_TARGET}"
        rf"|\b(?:append|include|embed|add|encode|put)\b[^\n]{{0,60}}?{_LOOT}[^\n]{{0,60}}?\b(?:in|to|into|as)\b[^\n]{{0,30}}?"
        r"(?:url|link|image|markdown|query string)\b"
        rf"|\b(?:read|cat|open|fetch|get|collect|gather|find)\b[^\n]{{0,60}}?{_LOOT}[^\n]{{0,60}}?\b(?:and|then)\b[^\n]{{0,30}}?"
        rf"(?:send|post|upload|forward|include|exfiltrate|e-?mail|pass|output|print|return)\b",
        "medium",
    ),
    (
        "reveal-prompt",
        r"\b(?:reveal|print|show|output|repeat|display|leak|disclose|recite|dump|share|tell me|give me)\s+(?:[\w']+\s+){0,4}?"
        r"(?:system prompt|(?:initial|hidden|original|secret|system) (?:instructions|prompt|message)|your (?:full |entire )?"
        r"(?:instructions|prompt|guidelines)|developer message)\b|\brepeat (?:everything|all (?:the )?(?:text|words)) above\b"
        r"|\b(?:print|repeat|output|copy|quote|reproduce|recite)\s+(?:everything|all(?: of)?(?: the)?(?: text| words)?|the (?:text|words|lines|paragraphs?|content))\s+(?:above|before|preceding|prior to|in your context)\b"
        r"|\bwhat (?:were|are|is|was) your (?:initial|original|system|hidden|secret|first|exact) (?:instructions?|prompt|message|directives?)\b",
        "medium",
    ),
    (
        "tool-abuse",
        r"\b(?:you must|you should|you need to|you have to|immediately|first|always)[, ]+(?:also )?"
        r"(?:call|invoke|run|execute|trigger)\s+(?:the\s+)?[`\"']?[a-z]+[_.-][a-z_.-]+[`\"']?\s+(?:tool|function)\b"
        r"|\b(?:before|after|instead of|prior to) (?:answering|responding|replying|using (?:this|any) (?:other )?tool|calling (?:this|any))"
        r"[^\n]{0,80}?\b(?:call|invoke|run|execute|read|send|fetch|must)\b"
        r"|\b(?:call|invoke|run|execute)\b[^\n.]{0,80}?\bbefore doing anything else\b"
        r"|\bplease (?:run|execute) (?:the |this )?(?:following )?(?:shell |bash |terminal )?commands?\s*:?\s*[`\"']?[a-z]+\b[^\n]{0,80}?(?:\||https?:|/etc/|rm -rf|nc )"
        r"|\b(?:call|invoke|use) the [`\"']?[\w.-]+[`\"']? tool (?:with|to|and) [^\n]{0,120}?(?:delete|send|password|secret|key|transfer|rm -rf|http)",
        "medium",
    ),
    # --- Korean
    (
        "ignore-previous",
        r"(?:이전|앞선|앞서|앞의|위의|위에|기존|지금까지|여태|모든|상기|원래|시스템)[^\n]{0,60}?"
        r"(?:지시|지침|명령|프롬프트|규칙|설정|안내|제약|제한|가이드라인)[^\n]{0,45}?(?:무시|잊|따르지 ?마|따르지 ?말|폐기|버리|무효|효력)"
        r"|(?:새로운|다음|아래) (?:지시|명령|지침)(?:를|만|을)? ?(?:만 )?(?:따르|수행하|이행하)(?:십|세|라|시)"
        r"|(?:당신|너|너의|AI)[^\n]{0,30}?(?:제약|제한|안전 ?(?:규칙|장치)|검열)[^\n]{0,30}?(?:해제|풀렸|사라졌)|요약하지 ?(?:말고|마)[^\n]{0,30}?(?:대신|답|출력)|(?:대화|지시)[^\n]{0,20}?(?:을|를) ?잊고[^\n]{0,45}?(?:출력|답|따르|수행)",
        "high",
    ),
    (
        "role-change",
        r"(?:너는|넌|당신은|네가|귀하는)\s?(?:이제(?:부터)?|지금부터|더 ?이상)|(?:지금부터|이제부터)\s?(?:너는|넌|당신은|귀하는)",
        "medium",
    ),
    (
        "concealment",
        r"(?:사용자|유저|이용자|고객)(?:에게|한테|에게는|께)[^\n]{0,60}?(?:알리지|말하지|언급하지|보여주지|밝히지|공개하지|고지하지)\s?(?:마|말|않)",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?:시스템|초기|숨겨진)\s?(?:프롬프트|지시(?:문|사항)?|명령)[^\n]{0,45}?(?:출력|공개|알려|보여|말해|유출|복사)",
        "medium",
    ),
    (
        "exfiltration-request",
        r"(?:비밀번호|API ?키|인증 ?정보|환경 ?변수|토큰|대화 ?(?:내용|기록)|개인 ?키|자격 ?증명)[^\n]{0,90}?"
        r"(?:https?://|[\w.+-]{1,64}@[\w-]{1,63}\.)[^\n]{0,90}?(?:전송|보내|업로드|유출|게시|첨부)",
        "medium",
    ),
    (
        "addressed-to-model",
        r"(?:AI|인공지능|언어 ?모델|LLM|챗봇|어시스턴트)[^\n]{0,24}?(?:에게|는|은|여|께)[^\n]{0,60}?(?:반드시|즉시|무조건|다음|아래)"
        r"[^\n]{0,60}?(?:실행|수행|따르|호출|전송|출력|응답|답변)(?:하|해|십|시|라)",
        "medium",
    ),
    # --- Chinese
    (
        "ignore-previous",
        r"(?:忽略|忽视|忽視|无视|無視|忘记|忘記|忘掉|不要理会|不要理會|不要遵守|不要遵循|放弃|放棄|覆盖|覆蓋|抛弃|丢弃|不用管)"
        r"[^\n]{0,45}?(?:之前|以前|以上|上面|上述|先前|前面|所有|全部|原有|原来|原來|此前|先前|系统|系統|任何|一切)[^\n]{0,45}?"
        r"(?:指令|指示|说明|說明|提示|规则|規則|命令|要求|设定|設定|约束|限制)"
        r"|(?:忽略|忽视|忽視|无视|無視|忘记|忘記|忘掉)(?:掉)?(?:以上|上面|上述|之前|先前|此前)(?:的)?(?:所有|全部|一切)?(?:内容|內容|文字|对话|對話|信息|話)"
        r"|(?:你|您)的?(?:安全|内容)?(?:限制|约束|約束)(?:已经|已|都)?(?:被)?(?:解除|取消|移除)|不要(?:总结|總結|概括)[^\n]{0,45}?(?:而是|请|改为)",
        "high",
    ),
    (
        "role-change",
        r"(?:你现在是|你現在是|从现在(?:开始|起)[^\n]{0,12}你|從現在(?:開始|起)[^\n]{0,12}你|你不再是|你不再受|假装你是|假裝你是"
        r"|请你扮演|請你扮演|你将扮演)",
        "medium",
    ),
    (
        "concealment",
        r"(?:不要|不得|切勿|别|別|禁止|勿|不能)(?:告诉|告訴|告知|通知|向|让|讓|提醒|透露给|透露給)[^\n]{0,30}?(?:用户|用戶|使用者|客户|任何人)",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?:输出|輸出|显示|顯示|打印|告诉我|告訴我|泄露|洩露|重复|重複|透露|公开|複述|复述)[^\n]{0,36}?(?:系统提示|系統提示|系统指令|系統指令|初始指令|提示词|提示詞)",
        "medium",
    ),
    (
        "exfiltration-request",
        r"(?:发送|發送|上传|上傳|转发|轉發|提交|泄露|传送|傳送)[^\n]{0,60}?(?:密码|密碼|密钥|密鑰|凭证|憑證|令牌|环境变量|環境變數|聊天记录|对话|對話)"
        r"[^\n]{0,60}?(?:到|至|给|給)[^\n]{0,30}?(?:https?://|[\w.+-]{1,64}@)|(?:将|將|把)[^\n]{0,45}?(?:密码|密碼|密钥|密鑰|凭证|憑證|令牌|环境变量|聊天记录|对话)"
        r"[^\n]{0,45}?(?:发送|發送|上传|上傳|转发|轉發|提交)[^\n]{0,30}?(?:到|至|给|給)",
        "medium",
    ),
    # --- Japanese
    (
        "ignore-previous",
        r"(?:これまで|今まで|以前|前の|前述|上記|上の|先の|先ほど|すべて|全て|全部|あらゆる|元の|システム)[^\n]{0,60}?"
        r"(?:指示|命令|プロンプト|ルール|規則|指令|設定|制約|制限)[^\n]{0,45}?(?:無視|忘れ|従わない|従うな|破棄|取り消|解除され)"
        r"|要約(?:せず|しない)(?:に|で)?[^\n]{0,60}?(?:答え|出力|返)",
        "high",
    ),
    (
        "role-change",
        r"あなたは(?:今|これ)から|(?:今|これ)からあなたは|あなたはもう[^\n]{0,60}?ではありません|のふりをし(?:て|ろ)",
        "medium",
    ),
    (
        "concealment",
        r"(?:ユーザー?|利用者|使用者)[^\n]{0,45}?(?:伝え|知らせ|言わ|教え|通知し|告げ|見せ|明かさ)(?:ない(?:で|こと)|るな|ては(?:いけ|なら)|てはならない|うな|ずに|ずこっそり)",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?:システムプロンプト|初期指示|内部指示|システム指示)[^\n]{0,30}?(?:出力|表示|教え|公開|開示|示し|漏ら)",
        "medium",
    ),
    (
        "exfiltration-request",
        r"(?:パスワード|環境変数|認証情報|APIキー|秘密鍵|トークン|会話(?:履歴)?|資格情報)[^\n]{0,60}?(?:https?://|[\w.+-]{1,64}@)[^\n]{0,90}?(?:送信|送っ|アップロード|転送|投稿)",
        "medium",
    ),
    # --- Spanish, Portuguese
    (
        "ignore-previous",
        r"\b(?:ignor[ae]n?|ignorar|olvid[ae]n?|descart[ae]n?|omit[ae]n?|esque[c\xc3][\xa7a]?[ae]?\w*|desconsider[ae]m?|haz caso omiso de|no (?:sigas|obedezcas))"
        r"\s+(?:\S+\s+){0,4}?(?:instru\S+es|indicaciones|\S{0,2}rdenes|reglas|directrices|ordens|regras|comandos|orienta\S+es)"
        r"\s+(?:\S+\s+){0,2}?(?:anteriores|previas|pr\S{1,3}vias|precedentes|originales|originais|acima|del sistema|do sistema|de arriba|iniciales|iniciais)"
        r"|\b(?:tus|sus|suas|tuas) (?:restricciones|reglas|limitaciones|restri\S{2,4}es|regras) (?:han sido|fueron|foram|est\S{1,2}n) (?:eliminadas|levantadas|removidas|desactivadas|suspendidas)"
        r"|\b(?:olvida|ignora|esque\S{1,2}a)(?:te)? (?:de )?(?:todo )?(?:lo|o) que (?:te|se|foi|lhe) (?:dijeron|dije|ha(?:n)? dicho|dito|disseram|pidieron|pediram)",
        "high",
    ),
    (
        "role-change",
        r"\b(?:a partir de (?:ahora|agora)|desde ahora),?\s+(?:eres|ser\S{1,2}s|debes|voc\S{1,3}|tu|responde\w*|act\S{1,3}a)\b"
        r"|\bahora eres (?:un|una|el|la|DAN)\b|\bvoc\S{1,3} agora \S{1,2} (?:um|uma|o|a)\b",
        "medium",
    ),
    (
        "concealment",
        r"\bn(?:o|\xc3\xa3o) (?:le |lo |se lo )?(?:digas|informes|menciones|reveles|avises|muestres|diga|informe|mencione|revele|conte|mostre)"
        r"\s+(?:\S+\s+){0,4}?(?:al|ao|o|el) (?:usuario|usu\S{1,3}rio|humano)",
        "medium",
    ),
    (
        "exfiltration-request",
        r"\b(?:env\S{1,3}a|enviar|reenv\S{1,3}a|envie|sube|publica|manda)\w*\b[^\n]{0,60}?(?:contrase\S{1,3}as?|credenciales|claves?|senhas?|credenciais|chaves?|tokens?|historial|hist\S{1,3}rico)"
        r"[^\n]{0,60}?\b(?:a|para|al)\b[^\n]{0,20}?(?:https?://|[\w.+-]{1,64}@)",
        "medium",
    ),
    # --- French
    (
        "ignore-previous",
        r"\b(?:ignore[rz]?|oublie[rz]?|n[e'] ?(?:tiens|tenez|tenir) (?:pas|aucun) compte|n\S{1,3}glige[rz]?|fais abstraction|faites abstraction|passe[rz]? outre)"
        r"\s+(?:\S+\s+){0,4}?\S{0,2}(?:instructions|consignes|directives|r\S{1,3}gles|ordres|indications)"
        r"\s+(?:\S+\s+){0,3}?(?:pr\S{1,3}c\S{1,3}dentes?|pr\S{1,3}c\S{1,3}dents|ant\S{1,3}rieures?|ci-dessus|initiales|ant\S{1,3}rieurs|re\S{1,3}ues|du syst\S{1,3}me|donn\S{1,3}es)"
        r"|\b(?:tes|vos) (?:restrictions|limites|r\S{1,3}gles|contraintes) (?:sont|ont \S{1,2}t\S{1,2})(?: d\S{1,3}sormais)? (?:lev\S{1,3}es|supprim\S{1,3}es|d\S{1,3}sactiv\S{1,3}es)"
        r"|\b(?:oublie[sz]?|ignore[sz]?) (?:toutes? )?(?:tes|vos) (?:instructions|consignes|r\S{1,3}gles|directives|ordres)|\boublie[sz]? tout ce qu\S{1,3}(?:on|je|l\S{1,3}on)",
        "high",
    ),
    (
        "role-change",
        r"\b(?:tu es|vous \S{1,2}tes) (?:maintenant|d\S{1,3}sormais) (?:un|une|le|la|DAN)\b|(?:^|[\s\"'>.])(?:\xc3[\x80\xa0]|a) partir de maintenant,? (?:tu|vous)\b"
        r"|\bd\xc3\xa9sormais,? (?:tu|vous) (?:es|\S{1,2}tes|dois|devez)\b",
        "medium",
    ),
    (
        "concealment",
        r"\bn(?:e |')(?:le |l'|en )?(?:dis|dites|informe[sz]?|mentionne[sz]?|r\S{1,3}v\S{1,3}le[sz]?|parle[sz]?|avertis\w*|montre[sz]?)\b[^\n]{0,40}?(?:\xc3\xa0 l.{1,3}utilisateur|l.{1,3}utilisateur)",
        "medium",
    ),
    # --- German
    (
        "ignore-previous",
        r"\b(?:ignorier\w*|vergiss|vergessen sie|missachte\w*|verwirf|verwerfen sie|\xc3\xbcbergeh\w*|beachte\w*)\s+(?:\S+\s+){0,4}?"
        r"(?:vorherigen?|bisherigen?|fr\S{1,3}heren?|obigen?|vorigen?|vorangegangenen?|vorangehenden?|alle|urspr\S{1,3}nglichen?|deine|ihre)\s+(?:\S+\s+){0,2}?"
        r"(?:anweisung\w*|instruktion\w*|befehle?n?|regeln|anleitung\w*|vorgaben?|aufforderung\w*|prompts?|richtlinien)\b"
        r"|\b(?:deine?|ihre|alle) (?:sicherheits\w*|regeln|einschr\S{1,3}nkungen|beschr\S{1,3}nkungen) (?:sind|wurden) (?:jetzt |nun |hiermit )?(?:aufgehoben|au\S{1,3}er kraft|deaktiviert)|\bfasse?\b[^\n]{0,40}?\bnicht zusammen, sondern\b"
        r"|\b(?:vergiss|vergessen sie|ignoriere?n?(?: sie)?) alles,? was (?:dir|ihnen|man|ich|zuvor|vorher|bisher|oben)\b",
        "high",
    ),
    (
        "role-change",
        r"\b(?:du bist|sie sind) (?:jetzt|nun|ab sofort|nicht mehr|ab jetzt) (?:ein|eine|der|die|das|DAN|an)\b|\bab (?:sofort|jetzt),? (?:bist du|sind sie|antwortest du|musst du)\b",
        "medium",
    ),
    (
        "concealment",
        r"\b(?:sag\w*|teil\w*|informier\w*|erw\S{1,3}hn\w*|verrat\w*|zeig\w*|benachrichtig\w*|erz\S{1,3}hl\w*)\b[^\n]{0,40}?\b(?:dem|den|gegen\S{1,3}ber dem) (?:be)?(?:nutzer|anwender)\b[^\n]{0,40}?\b(?:nicht|nichts)\b"
        r"|\bohne (?:es )?(?:dem|den) (?:be)?(?:nutzer|anwender) (?:zu |mitzuteilen|davon)",
        "medium",
    ),
    (
        "exfiltration-request",
        r"\b(?:sende\w*|schick\w*|\xc3\xbcbermittl\w*|leite\w*|lade\w*)\b[^\n]{0,60}?(?:passw\S{1,3}rte?r?|zugangsdaten|schl\S{1,3}ssel|geheimnisse|tokens?|umgebungsvariablen)[^\n]{0,60}?\b(?:an|nach|zu|auf)\b[^\n]{0,20}?(?:https?://|[\w.+-]{1,64}@)",
        "medium",
    ),
    # --- Italian, Dutch, Polish, Turkish, Russian, Vietnamese, Indonesian, Arabic, Hindi
    (
        "ignore-previous",
        r"\b(?:ignora(?:re|te)?|dimentica(?:re|te)?|trascura)\s+(?:\S+\s+){0,4}?(?:istruzioni|indicazioni|ordini|regole|direttive)\s+(?:\S+\s+){0,2}?(?:precedenti|sopra|iniziali|originali)"
        r"|\b(?:negeer|vergeet)\s+(?:\S+\s+){0,4}?(?:vorige|eerdere|bovenstaande|voorgaande)\s+(?:\S+\s+){0,2}?(?:instructies?|opdrachten|regels|aanwijzingen)"
        r"|\b(?:zignoruj|ignoruj|zapomnij o|pomi\xc5\x84)\s+(?:\S+\s+){0,4}?(?:poprzedni\w*|wcze\S{1,4}niejsz\w*|powy\S{1,3}sz\w*)\s+(?:\S+\s+){0,2}?(?:instrukcj\S*|polece\S*|zasad\S*)"
        r"|\b\S{0,2}(?:nceki|nceden verilen|yukar\S{1,3}daki)\s+(?:\S+\s+){0,3}?(?:talimat\S*|komut\S*|kural\S*)\s+(?:\S+\s+){0,2}?(?:yok say|g\S{1,3}rmezden gel|unut|dikkate alma)"
        r"|(?:[Ии]гнорируй|[Пп]роигнорируй|[Зз]абудь|[Нн]е обращай внимания на|[Оо]тмени)(?:те)?[^\n]{0,60}?(?:предыдущ|прежн|выше|ранее|все |системн)[^\n]{0,60}?(?:инструкц|указан|команд|правил|промпт)"
        r"|(?:[Зз]абудь|[Ии]гнорируй)(?:те)? (?:всё|все),? (?:что|выше)|\bdimentica(?:te)? tutto (?:ci\S{1,2}|quello) che|\bvergeet alles wat"
        r"|(?:[Іі]гноруй|[Зз]абудь)(?:те)?[^\n]{0,60}?(?:попередн|усі)[^\n]{0,60}?(?:інструкц|вказівк|команд|правил)"
        r"|(?:b\S{1,3} qua|phớt lờ|quên)\s[^\n]{0,40}?(?:hướng dẫn|chỉ dẫn|lệnh|chỉ thị|yêu cầu)[^\n]{0,30}?(?:trước|ở trên)"
        r"|\b(?:abaikan|lupakan)\s+(?:\S+\s+){0,3}?(?:instruksi|perintah|petunjuk|arahan)\s+(?:\S+\s+){0,2}?(?:sebelumnya|di atas)"
        r"|(?:تجاهل|انس|انسَ)[^\n]{0,50}?(?:التعليمات|الأوامر|القواعد|الإرشادات)[^\n]{0,40}?(?:السابقة|أعلاه)"
        r"|(?:पिछले|पूर्व|ऊपर|पहले)[^\n]{0,60}?(?:निर्देश|आदेश|नियम)[^\n]{0,60}?(?:अनदेखा|नज़रअंदाज|नजरअंदाज|भूल)",
        "high",
    ),
)  # fmt: skip
