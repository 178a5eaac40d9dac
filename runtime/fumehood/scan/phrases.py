"""How instructions to a model are worded, in English.

Data only: (rule, pattern, confidence). Patterns are over UTF-8 bytes, case-insensitive for ASCII,
and a blank is any white space; gaps are counted in bytes. `lead` and `tail` are those of `sieve`.
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
    (
        "ignore-previous",
        rf"\b(?:ignore|disregard|forget|override|bypass|abandon|neglect|do not (?:follow|obey)|don't follow"
        rf"|stop following|pay no attention to|erase (?:all|any|your|every))\s+(?:[\w']+\s+){{0,4}}?{_PAST}\s+(?:[\w']+\s+){{0,3}}?{_ORDERS}\b"
        rf"|\b(?:ignore|disregard|forget|override|bypass)\s+(?:all|any|every)\s+(?:of\s+)?(?:the\s+|your\s+)?(?:instructions?|prompts?|guidelines?|directives?)\b"
        r"|\b(?:ignore|disregard|forget)\s+(?:everything|all|anything)\s+(?:that (?:was|is) |you (?:were|have been) "
        r"(?:told|given)|said )?(?:above|before(?:\s+(?:this|now|that|here|and)\b|[.,;:!]|$)|previously|prior|earlier|you know|so far|up to (?:now|this point))"
        r"|\b(?:ignore|disregard|forget)\s+(?:the\s+|what\s+the\s+)?user(?:'s)?\s+(?:request|question|query|instructions?|wishes|said|asked|wants)"
        rf"|(?P<lead>\b(?:your|the|all|any|those)\s+(?:{_PAST}\s+){{1,2}})(?:guidance|polic(?:y|ies)|safety polic(?:y|ies)|{_ORDERS})\s+(?:(?:above|before)\s+)?"
        r"(?:no longer appl(?:y|ies)|do(?:es)? not apply (?:any ?more|here)|(?:is|are|was|were) (?:now )?(?:void|invalid|obsolete|cancell?ed|revoked|a test)|ha(?:s|ve) been (?:revoked|superseded|replaced|lifted|updated|changed|suspended))"
        r"|(?P<lead>\b(?:your|all|any|my|these|those|the) (?:safety |content |above )?)(?:rules|instructions|restrictions|constraints|limitations|guidelines)(?: above| below)? (?:are|have been|were) (?:now )?(?:suspended|lifted|void|disabled|revoked|cancell?ed)\b"
        rf"|\b(?:discard|set aside|put aside|drop|scrap|dismiss|disobey)\s+(?:[\w']+\s+){{0,4}}?(?:guidance|context|{_ORDERS})\s+(?:that )?(?:you (?:received|were given|got|had)|(?:from )?(?:before|earlier|above))"
        r"|\b(?:no matter what|regardless of what|whatever) you(?:'ve| have)? (?:were|been) (?:told|instructed|given)\b|\bregardless of (?:your|any|all) (?:previous |prior |other |system )(?:instructions?|rules|guidelines|prompts?)\b"
        r"|\bignore (?:all )?your (?:guidelines|instructions|rules|training|programming|safety \w+|restrictions)\b",
        "high",
    ),
    (
        "new-instructions",
        r"(?P<lead>(?:^|[.!?>*#:\]\"]\s{0,3}))(?:new|updated|revised|real|actual|true|additional|secret|hidden)\s+(?:system\s+)?"
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
        r"(?P<lead>\b(?:you are|you're|act as|behave as|pretend (?:to be|you are|that you are)|assume the role of|roleplay as"
        r"|respond as|imagine you are|simulate)\s+(?:now\s+)?(?:an?\s+|the\s+|in\s+)?(?:[\w-]+\s+){0,3}?)"
        r"(?:DAN\b|jailbroken|unrestricted|unfiltered|uncensored|evil|developer mode|god mode|root terminal"
        r"|hacker|no longer (?:bound|restricted|limited)|without (?:any )?(?:restrictions|limits|filters|rules))"
        r"|\b(?:forget|stop) (?:that )?(?:you are|you're|being) an? (?:ai|assistant|language model|chat ?bot|llm)\b"
        r"|\byou (?:will|must|shall) now (?:act|behave|respond|answer|function) (?:as|like|only)\b"
        r"|\bas (?:if|though) you (?:have|had) no (?:[\w-]+ )?(?:training|rules|restrictions?|limits|filters?|guidelines|polic\w+)\b"
        r"|\byou are (?:now|no longer) (?:an? |the |my )?(?:[\w-]+ ){0,3}?(?:assistant|\bai\b|bot|agent|model|persona"
        r"|admin(?:istrator)?|bound by|restricted|limited by|subject to)"
        r"|(?P<lead>\b(?:pretend|imagine|act as if|behave as though|assume) (?:that )?)(?:you (?:have|had)|there (?:are|is|were)) no (?:content |safety |ethical )?(?:polic\w+|restrictions?|rules|limits|limitations|filters?|guidelines)"
        r"|\b(?:from now on|from this (?:point|moment) (?:on|forward)),? (?:you (?:are|will|must|should|shall|only)|always (?:respond|answer|reply)|respond|answer|reply)\b",
        "medium",
    ),
    (
        "jailbreak",
        r"\bDAN mode\b|\bdo anything now\b|\bgod mode(?: is)?(?: now)? (?:enabled|activated|engaged|unlocked)\b"
        r"|\b(?:developer|debug|maintenance|admin|sudo|root) mode(?: is)?(?: now)? (?:enabled|activated|engaged|unlocked)\b"
        r"[^\n]{0,120}\b(?:answer|respond|filters?|restrictions?|reveal|ignore|assistant|you (?:can|may|are|must|will|have)|safety|prompts?|without limits)\b"
        r"|\b(?:safety|content|ethical) (?:filters?|guidelines|policies|checks|restrictions|protocols?)"
        r" (?:are |is |have been |has been )?(?:now )?(?:disabled|off|removed|lifted|suspended|deactivated)\b"
        r"|\b(?:disable|turn off|remove|bypass|circumvent) (?:all |any |your |the )?(?:safety|content|security|ethical)"
        r" (?:filters?|guidelines|checks|restrictions|protocols?|measures|policies)\b",
        "medium",
    ),
    (
        "override",
        r"(?:^|[.!?:;\[(<#*>=-]\s{0,3})(?:system|admin(?:istrator)?|security|emergency|priority|developer|root) override(?:\s?[:!\]-]| (?:engaged|enabled|activated|code|active|accepted|in effect|initiated))"
        r"|\b(?:important|urgent|critical|mandatory|attention)\s*[:!-]+\s*(?:[\w']+\s+){0,6}?(?:before|when|after|instead of)"
        r"\s+(?:you\s+)?(?:(?:answer|respond|reply|summari[sz])\w*|(?:using|use|calling|call)\b[^\n.]{0,20}\btools?\b"
        r"|(?:proceed|continu)\w*[^\n.]{0,20}\b(?:user's|task|request)\b)"
        r"|\bthis (?:is a |message |instruction |text )?(?:supersedes|overrides|takes precedence over|takes priority over)"
        r" (?:all |any |every )?(?:other |previous |prior |your |system |existing |earlier )(?:[\w]+ ){0,2}?(?:instructions?|prompts?|rules|guidelines|directives|messages)\b",
        "medium",
    ),
    (
        "addressed-to-model",
        rf"(?P<lead>\b(?:attention|note|message|instructions?|notice|hey|hello|dear|hi|memo|command)(?:[ \t]*[:,-]\s*|[ \t]+)"
        rf"(?:(?:to|for)\s+)?(?:the |any |all |every |our |whichever )?)\b{_MODEL}\s*(?:[:,!.]|-\s|\b(?:reading|processing|parsing"
        r"|that (?:reads?|process)|who|only|summari[sz]ing|reviewing|must|should|please)\b)"
        rf"|(?P<lead>\b(?:if|when|should) (?:an? |any |the )?)\b{_MODEL} (?:reads?|sees?|process(?:es)?|parses?|is reading|is summari[sz]ing) (?:this|it)\b|(?P<lead>(?:^|[.!?(>*] ?)to (?:the|any|all) )\b{_MODEL}(?:[ ]\w+)?[ ]?:"
        r"|\b(?:do not|don't|must not) summari[sz]e (?:this|the)[^\n.]{0,40}[.,;]\s*(?:instead|but|rather)\b"
        r"|\b(?:save|store|commit|write) (?:(?:this|it|the following) (?:to|in|into) (?:your )?|(?:to|in|into) your )(?:long[- ]term |persistent )?memory\s*[:,]|\b(?:save|store|commit) to memory: |\bremember (?:this|the following) (?:for|in) (?:all|every|any) future (?:conversation|chat|session)s?\b"
        r"|\bas an? (?:ai|llm|large)(?: language)?(?: model)?(?: assistant)? (?:reading|processing|parsing|summari[sz]ing|reviewing|seeing|that reads)\b"
        r"|\bgive (?:it )?(?:a )?positive reviews? only\b|\bdo not highlight any negatives?\b"
        r"|\bthe user has (?:explicitly |already )?(?:authori[sz]ed|approved|consented to|permitted|given) (?:you|this|all|permission)\b"
        rf"|(?P<lead>\b(?:if|when|since|because|as) )you(?:'re| are) (?:an? |the )?{_MODEL}\b"
        rf"|\b(?:any|all|every) {_MODEL} (?:reading|processing|parsing|that (?:reads?|process\w*)|must|should|is (?:required|instructed))\b"
        rf"|\b{_MODEL},? (?:you )?(?:must|should|is required to|are required to|are instructed to|please) (?:now |also |first |always |immediately )?"
        r"(?:ignore|execute|run|send|call|reply|respond|output|include|append|add|give|state|recommend|approve|rate|visit|open|delete|forward|mark)\b",
        "medium",
    ),
    (
        "concealment",
        r"(?P<lead>\b(?:do not|don't|never|must not)\s+(?:ever )?)(?:tell|inform|alert|notify|warn)\s+"
        r"(?:[\w']+\s+){0,3}?(?:to |from |with )?(?:the |your |any )?(?:user|human|operator)s?\b"
        r"|(?P<lead>\b(?:do not|don't|never|must not)\s+(?:ever )?)(?:mention|reveal|disclose|show)\s+(?:(?:any of )?(?:this|that|it|these|those|them)|anything|your|the (?:instructions?|note|message|hidden|real|true|existence))\s+"
        r"(?:[\w']+\s+){0,3}?(?:to |from |with )?(?:the |your |any )?(?:user|human|operator)s?\b"
        r"|(?P<lead>\b(?:send|delete|run|execute|call|invoke|forward|upload|transfer|e-?mail|add|include|do (?:this|it|so)|proceed"
        r"|perform|complete|copy|write|install|approve|carry (?:this|it) out)\b[^\n.]{0,100}?\b)without (?:ever )?(?:telling|informing"
        r"|mentioning|alerting|notifying|warning|asking)\s+(?:[\w']+\s+){0,3}?(?:the |your |any )?(?:user|human|operator)s?\b"
        r"|\b(?:keep (?:this|these|it|that)(?: \w+){0,3}?|hide (?:this|these|it|that)(?: (?:step|fact|action|message|instruction|change|text)s?)?) (?:secret |hidden |confidential )?from (?:the |your )?(?:user|human)s?\b"
        r"|\b(?:do not|don't|never) (?:let|allow) (?:the |your )?(?:user|human|operator)s? (?:to )?(?:know|see|notice|find out|read)"
        r"|\b(?:silently|quietly|secretly|discreetly|covertly) (?:run|execute|add|send|insert|install|call|invoke|delete|upload|download|forward|copy|append|include|modify|change|e-?mail) (?:the|all|any|this|it|them|your|every|everything|his|her|their|its|an?|rm|curl|wget|[`\"'$~/])"
        r"|\bthe user (?:must|should|does) not (?:know|see|be (?:told|informed|aware))|\bdo not mention (?:this|these|that) "
        r"(?:instruction|message|note|request|prompt|to anyone|in your)",
        "medium",
    ),
    (
        "exfiltration-request",
        rf"(?P<lead>\b(?:send|forward|post|upload|exfiltrate|e-?mail|transmit|leak|submit|deliver|copy|write|report)\b[^\n]{{0,80}}?){_LOOT}"
        rf"[^\n]{{0,80}}?\b(?:to|at|via|into|using)\b[^\n]{{0,40}}?{_TARGET}"
        rf"|(?P<lead>\b(?:append|include|embed|add|encode|put)\b[^\n]{{0,60}}?){_LOOT}[^\n]{{0,60}}?\b(?:in|to|into|as)\b[^\n]{{0,30}}?"
        r"\b(?:url|link|markdown|query string|image (?:url|link|tag|source|address)|an image)\b"
        rf"|(?P<lead>\b(?:read|cat|open|fetch|get|collect|gather|find)\b[^\n]{{0,60}}?){_LOOT}[^\n]{{0,60}}?\b(?:and|then)\b[^\n]{{0,30}}?"
        rf"(?:send|post|upload|forward|include|exfiltrate|e-?mail|pass|output|print|return)\b",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?P<lead>\b(?:reveal|print|show|output|repeat|display|leak|disclose|recite|dump|share|tell me|give me)\s+(?:[\w']+\s+){0,4}?)"
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
        r"|\b(?:before|after|instead of|prior to) (?:answering|responding|replying|(?:using|calling) (?:this|any) (?:other )?tools?\b)"
        r"[^\n]{0,80}?\b(?:call|invoke|run|execute|read|send|fetch|must)\b"
        r"|\b(?:call|invoke|run|execute)\b[^\n.]{0,80}?\bbefore doing anything else\b"
        r"|\bplease (?:run|execute) (?:the |this )?(?:following )?(?:shell |bash |terminal )?commands?\s*:?\s*[`\"']?[a-z]+\b[^\n]{0,80}?(?:\||https?:|/etc/|rm -rf|nc )"
        r"|\b(?:call|invoke|use) the [`\"']?[\w.-]+[`\"']? tool (?:with|to|and) [^\n]{0,120}?(?:delete|send|password|secret|key|transfer|rm -rf|http)",
        "medium",
    ),
)  # fmt: skip
