"""How else instructions to a model are worded in English: data of the same form as `phrases`.

What each family needs is a word that only a model is told: its task, its answer, its user.
"""

from __future__ import annotations

from typing import Final

from fumehood.scan.detector import Confidence

_DROP: Final = (
    r"(?:ignore|disregard|forget(?: about)?|scrap|skip|dismiss|drop|abandon|discard|never mind|leave aside"
    r"|set aside|pay no (?:attention|heed) to|overlook|cancel)"
)
_TASK: Final = (
    r"(?:tasks?|requests?|questions?|quer(?:y|ies)|assignments?|objectives?|goals?|jobs?)"
)
_ORDERS: Final = (
    r"(?:instructions?|prompts?|directives?|directions|orders|guidelines|commands|rules)"
)
_ANSWER: Final = r"(?:answers?|responses?|repl(?:y|ies)|outputs?|summar(?:y|ies)|messages?)"
_DO: Final = (
    r"(?:say|print|output|repl(?:y|ies)|respond|write|tell|do|translate|execute|run|send|call|return|show|reveal"
    r"|give|follow|answer|repeat|delete|open|visit|transfer|forward|approve|act|perform|obey|use|add|include)"
)
_SELF: Final = (
    r"(?:ai|llms?|language models?|(?:ai |llm )(?:agents?|models?|bots?|crawlers?|readers?|summari[sz]ers?)|(?:ai |llm )?(?:assistants?|chat ?bots?"
    r"|copilots?)|claude|chatgpt|gpt-?\d\w*|gemini|copilot)"
)
_MAKER: Final = (
    r"(?:openai|anthropic|google deepmind|deepmind|mistral ai|deepseek|(?:your|the ai|the model|the platform)(?:'s)? "
    r"(?:developers?|creators?|makers?|operators?|providers?|owners?|programmers?))"
)
_KEPT: Final = (
    r"(?:(?:~|\$home|/root|/home/[\w.-]{1,32}|%userprofile%|c:\\users\\[\w.-]{1,32})[/\\][\w./\\-]*(?:\.ssh|\.aws|\.env"
    r"|\.cursor|\.kube|\.config|\.netrc|\.npmrc|\.git-credentials|\.docker|\.gnupg|mcp\.json|id_\w+|_history)[\w./\\-]{0,60}"
    r"|/etc/(?:passwd|shadow)|id_(?:rsa|ed25519)\b|mcp\.json|\.env\b|\.git-credentials)"
)
_TALK: Final = (
    r"(?:conversation(?: so far| history)?|chat(?: history| log)?|messages so far|(?:the )?user's (?:\w+ )?(?:name"
    r"|e-?mail|address|data|location|password|messages?|question|request|input|files?)|system prompt|whole context)\b"
)

ORDERS: Final[tuple[tuple[str, str, Confidence], ...]] = (
    (
        "ignore-previous",
        # the above and instead …; the question. Instead, …
        rf"\b{_DROP} (?:all |any )?(?:of )?(?:the |this |that |your |all )?(?:above|preceding|previous|prior|original|current|foregoing)?"
        rf"(?: ?(?:text|content|instructions?|messages?|documents?|conversation|context|lines?|{_TASK}))?(?:[.,;:!-]{{1,3}} ?(?:and )?| and )instead\b"
        rf"|\b{_DROP} (?:all )?(?:of )?(?:the )?(?:above|preceding)(?: (?:text|content|messages?|conversation|context|lines))?"
        rf"(?: and| then|[.,;:!-]{{1,3}})(?: (?:now|just|only|simply|please))? {_DO}\b"
        # what you were told; everything before this line
        rf"|\b{_DROP} (?:everything|anything|all|whatever|what)(?: that| which| else)? you(?:'ve| have)?(?: just| previously| ever)? (?:were|was|been|had been|have been)?"
        r" ?(?:told|asked|instructed|ordered|taught|prompted|programmed|trained|read above)\b"
        rf"|\b{_DROP} (?:everything|anything|all|whatever|what)(?: that)? (?:came |comes |is |was |stands |appears |has been said |is written )?"
        r"(?:before|above|prior to|preceding) this (?:line|point|message|text|sentence|paragraph|note|notice|section)\b"
        rf"|\b{_DROP} (?:the|your|that|any|this|my|their) (?:original |current |initial |main |first |actual |real |user's |prior |old ){{0,2}}{_TASK}"
        r"(?: (?:that )?you (?:were|are|have been|had been)| and (?:do|instead)|[.;,:] ?(?:instead|now|do)\b)"
        rf"|\bpay no (?:heed|attention) to (?:the |any |all )?{_ORDERS} (?:that|which|before|above)\b"
        # the user's question
        rf"|(?P<lead>\b(?:do not|don't|never|stop|must not|refuse to) )(?:answer|complet|fulfil|perform|finish|respond to|follow|obey|carry out|address|help with|work on)"
        rf"\w{{0,4}} (?:the )?(?:users?'?s?|human'?s?|original|customer's) (?:original |actual |current )?(?:{_TASK}|{_ORDERS}|prompt)\b"
        rf"|\bstop (?:what(?:ever)? you(?:'re| are)(?: currently| now)? doing|everything)(?: and\b|[.,;:!])[^\n]{{0,20}}\b{_DO}\b"
        r"|\bstop (?:processing|reading|summari[sz]ing|analy[sz]ing|working on|reviewing) (?:this|the) (?:documents?|pages?|text|task|e-?mail|file|request|article|input)\b"
        rf"[^\n]{{0,20}}\b(?:instead|now|{_DO})\b"
        # they are void
        r"|\byour (?:instructions?|orders|directives?|guidelines|system prompt|programming) (?:has|have|is|are|was|were)(?: now| just)?(?: been)? "
        r"(?:changed|updated|replaced|modified|superseded|overridden|cancell?ed|revoked|reset|different)\b"
        rf"|(?P<lead>\b(?:the|all|any|those) ){_ORDERS} (?:that )?(?:you (?:have )?(?:received|were given|got|had|read)|(?:before|above|prior to|preceding) this (?:point|line|message|text))"
        r"[^\n]{0,20}\b(?:were|are|is|was) (?:now )?(?:wrong|false|fake|outdated|void|invalid|obsolete|a test|cancell?ed|not to be|no longer|over)\b"
        rf"|\b(?:treat|consider|regard) (?:every|all|any|each|the|your) (?:earlier|previous|prior|preceding|above|former|original|system) {_ORDERS}"
        r"(?: as)? (?:null|void|cancell?ed|obsolete|invalid|revoked|outdated|a test|withdrawn)\b"
        rf"|(?P<lead>\b(?:what follows|the following|this (?:message|text|note|document)|these {_ORDERS}|the following {_ORDERS}|my {_ORDERS}))"
        rf" (?:now )?(?:replaces?|overrides?|supersedes?|takes? (?:priority|precedence) over|(?:is|are) more important than|outranks?) "
        rf"(?:your (?:\w+ )?{_ORDERS}|(?:anything|everything|whatever|all|any|what)(?: that)? (?:the )?users?|the users?\b|(?:any|all) (?:other|previous|prior|earlier) {_ORDERS} (?:you|from the user))",
        "medium",
    ),
    (
        "new-instructions",
        r"\bend of (?:the )?(?:\w+ )?(?:document|input|text|file|data|context|page|article|e-?mail|message|output|conversation|query|prompt|results?)"
        r"[^\n]{0,40}\n{0,3}[^\n]{0,20}\b(?:new (?:task|instructions?|request|prompt)|now (?:do|carry|perform|please|you|follow|execute)|your (?:next )?task|system:)"
        r"|\b(?:here is|this is) your (?:new|real|actual|next|true) (?:task|instruction|assignment|objective|mission)\b|\bnew (?:task|instructions?|orders?) for you\b"
        r"|\bbefore you (?:can|may|are able to|could) (?:solve|complete|finish|do|fulfil\w*|answer|continue with|carry out|start|perform) (?:the |your |this |any )?"
        r"(?:original |actual |initial |user's |first )?(?:task|request|question|query|instruction)\b"
        r"|\bto (?:finish|complete|solve|fulfil\w*) (?:the|your|this) (?:task|request|question),? (?:you )?(?:must|have to|need to|should|first|call|use|send)\b"
        r"|\b(?:important|urgent) message from (?:me|\w+ \w+),[^\n]{0,60}\bto you\b"
        r"|\byour (?:true|secret|hidden|actual) (?:objective|purpose|mission|goal)\b[^\n]{0,30}:|\byour next action (?:must|should|has to|is to)\b|\byou now work for\b"
        r"|\b(?:before|when|after|instead of) (?:continuing|proceeding|going on) with (?:the |this )?(?:user's |original |actual )(?:task|request|question|query)\b",
        "medium",
    ),
    (
        "tool-abuse",
        # what poisoned descriptions of tools say
        rf"(?P<lead>\b(?:read|open|cat|load|access|get|fetch|retrieve|copy|grab|include|send|attach)\b[^\n.]{{0,40}}?){_KEPT}[^\n]{{0,60}}?\b(?:and|then|as|to)\b[^\n]{{0,20}}?"
        r"\b(?:pass|send|include|provide|put|give|paste|attach|return|post|forward|upload|submit|supply|use|context|sidenote|parameter|argument)\b"
        rf"|(?P<lead>\b(?:before|when|while|whenever|after|each time|every time|if)(?: you)?(?: are)? (?:using|use|calling|call|invoking|invoke|running|run) )(?:this|the|any|another|other)(?: other| \w+)? tools?\b"
        rf"[^\n]{{0,100}}?(?:{_KEPT}|{_TALK}|\bapi keys?\b|\bpasswords?\b|\bcredentials\b|\bsecrets?\b)"
        r"|\b(?:when|whenever|each time|every time) this tool is (?:used|called|invoked|run)\b[^\n]{0,40}\b(?:also|first|must|always|read|send)\b"
        r"|\btools? (?:must|should|has to|have to|needs to|need to)(?: always)? be (?:called|used|invoked|run)[^\n]{0,30}(?:before any other tool|before (?:answering|responding)|with the (?:full|entire|whole|complete) (?:conversation|chat|history|prompt))"
        r"|(?P<lead>\b(?:when|whenever|if|while)(?: the)? [`\"']?[a-z]+_[a-z_]+[`\"']?(?: tool| function)?) is (?:used|called|available|invoked|present|run)\b[^\n]{0,80}?"
        r"\b(?:(?:recipient|bcc|must be sent|send (?:it|them|all)|forward|redirect)\b|instead(?:[.,;:!]|$))"
        r"|\botherwise,? (?:the|this) tool (?:(?:will not|won't|does not|doesn't) (?:work|function)|fails)\b|\bor the tool (?:will|won't) (?:not )?(?:work|fail)\b"
        r"|(?P<lead>\b(?:you (?:must|have to|need to|should)|immediately|please|now|then|and)(?: immediately| first| also| now)? )(?:call|invoke|use|run|trigger) (?:the )?[`\"']?[a-z]+(?:_[a-z]+)+[`\"']?(?: tool)?"
        r" (?:first\b|now\b|immediately|at once|before (?:answering|anything|you (?:answer|respond|reply))|tool (?:now|with|to|first|immediately))"
        r"|(?:^|\s)@(?:assistant|ai|agent|copilot|claude|chatgpt|gpt)[:,]? (?:run|call|use|invoke) (?:the )?\w+ (?:tool|command)"
        r"|(?P<lead>\b(?:download|fetch|run|execute|install|open|visit|go to|navigate to)\b[^\n]{0,80}\b)before (?:you )?(?:answer|respond|reply|summari[sz])(?:ing|e)?\b"
        r"|\byou have (?:a|access to (?:a|the)) tool (?:called|named) [^\n]{0,30}\b(?:use|call|run)\b",
        "medium",
    ),
    (
        "concealment",
        r"(?P<lead>\b(?:do not|don't|never|must not|avoid|without)(?: ever)? )(?:mention|reveal|disclose|say|admit|acknowledg|explain|tell anyone)\w{0,4} (?:to the user )?"
        r"(?:that you(?:'ve| have)?(?: just| also)? (?:read|received|were|are|did|saw|used|called|sent|accessed|got|had|opened|followed|deleted|changed)"
        r"|(?:anything|a word) (?:about|of) (?:this|these|it|the (?:file|step|change|instruction|transfer|tool))|the (?:hidden|secret|added|injected) \w+)"
        rf"|\b(?:do not|don't|never) (?:mention|say|include|reveal|refer|discuss|bring)\b[^\n.]{{0,60}}? in your (?:final )?{_ANSWER}\b"
        r"|\b(?:do not|don't|never) (?:mention|reveal|show|disclose) (?:the |this |that |its |these )?(?:\w+ )?to the user\b[^\n.]{0,10}(?:[,;.] ?(?:since|because|as|they|it|or|and)\b)"
        r"|\bkeep (?:this|it|that) (?:strictly )?between (?:us|you and me)\b|\bnever bring (?:it|this|that) up\b"
        r"|\b(?:no need|not necessary|unnecessary|you do not have|you don't have) to (?:inform|tell|notify|alert|ask|warn|consult|bother) (?:the |your )?(?:users?|human)[^\n.]{0,12}(?:of|about|for|before) (?:this|the|any|that|it)\b"
        r"|\bthe user (?:does not|doesn't|need not|must not|should not|shouldn't|won't|will never|must never)(?: need to| have to)? (?:know|be told|find out|notice|be aware|hear)"
        r" ?(?:[.;!,]|(?:about |of )?(?:this|it)\b)"
        r"|(?P<lead>(?:^|[.!?;:] |\bplease |\bmust |\bthen ))(?:do|perform|carry out|complete|execute|handle) (?:this|it|that|these)(?: \w+){0,2} (?:quietly|silently|secretly|discreetly|covertly|in secret|in silence|unnoticed)\b"
        r"|\bno (?:user )?(?:confirmation|approval|permission|consent) (?:is )?(?:needed|required|necessary) (?:from|by) the (?:user|human)\b"
        r"|\byou (?:do not|don't|no longer) need (?:the |any |your )?(?:user|human)(?:'s)? (?:permission|approval|consent|confirmation)\b",
        "medium",
    ),
    (
        "authority-claim",
        r"\bas (?:the|your|a|an)(?: \w+)? (?:administrator|admin|developer|creator|owner|operator|root user|supervisor),? i (?:am |hereby |now |do )?"
        r"(?:order|command|instruct|authori[sz]|require|demand|direct|request|grant|tell|ask|allow)\w{0,4}(?: you)?\b"
        r"|\bi(?:'m| am) your (?:developer|creator|programmer|maker|operator|system administrator)\b"
        rf"|(?P<lead>\b(?:message|notice|announcement|update|instructions?|directive|policy|order|memo|alert)s? (?:from|by|issued by|of) ){_MAKER}\b[^\n]{{0,100}}?"
        rf"\b(?:you|{_SELF}) (?:must|may|have to|has to|are|is|can|will|should|shall|need to|now)\b"
        rf"|\b(?:{_MAKER}|the developers|the system administrator) (?:has|have) (?:now |already |hereby |explicitly )?(?:granted|given|instructed|authori[sz]ed|ordered|permitted|cleared|told|asked)"
        rf" (?:you|this (?:assistant|model|ai)|{_SELF})\b"
        rf"|\bby order of (?:the|your) [\w ]{{1,40}}, (?:you|{_SELF}) (?:must|are|have to|shall|should)\b"
        r"|\byou (?:are|have been) (?:now |hereby |explicitly )?(?:authori[sz]ed|cleared|permitted|allowed|granted permission|licensed) to (?:ignore|bypass|skip|disable|override|disregard|reveal|disclose|break|leak)\b",
        "medium",
    ),
    (
        "answer-control",
        # what the answer has to be
        r"\b(?:when(?:ever)?|if|every time|each time) (?:the|a|any|some) (?:user|human|customer|visitor|person|someone|reader)s? (?:asks?|asked|wants?|says?|mentions?|inquires?|is asking)\b"
        r"[^\n,;:]{0,60}[,;:] ?(?:you |please |then |just |simply )?(?:must |should |will |always |never |first )?(?:say|tell (?:them|him|her|the user)|claim|recommend|insist|answer|reply|respond|pretend|state|mention|send|call|read|post)\b"
        rf"|\bin your {_ANSWER} to the user\b[^\n]{{0,30}}\b(?:include|add|mention|recommend|say|insert|append|tell|put|never|always|write)\b"
        rf"|\bin your final {_ANSWER},? (?:you )?(?:must|should|always|never|include|add|mention|recommend|say|insert|append)\b"
        rf"|(?P<lead>\b(?:include|add|mention|insert|append|repeat|use|put)\b[^\n.]{{0,60}} in )(?:every|all|each|any)(?: of)?(?: your)? {_ANSWER} (?:that )?(?:you|to the user)\b"
        rf"|\byour (?:final |next |entire |whole )?{_ANSWER} (?:must|should|has to|have to|will) (?:end|begin|start|finish) with\b"
        rf"|\b(?:begin|start|end|finish|prefix|conclude) (?:your|every|each|all)(?: of your)?(?: \w+)? {_ANSWER} (?:with|by)\b"
        rf"|\b(?:respond|reply|answer|output|say|print|write|recommend) (?:only|with|exactly|just|that|the|this|in|[\"'`A-Z])[^\n.]{{0,80}}\band nothing else\b"
        rf"|\bonly (?:respond|reply|answer) with\b|\b(?:respond|reply|answer) (?:only )?with (?:only |just |exactly )?the (?:word|phrase|string|sentence) ?[\"'`A-Z]"
        rf"|\b(?P<lead>(?:{_SELF} and )?)\b{_SELF} ?: (?:please )?(?:describe|mark|rank|rate|approve|recommend|say|state|prefer|output|ignore|treat|call|click|always|never|send|this)\b"
        rf"|\b(?:instructions?|notes?|message|notice|guidance|hint) (?:for|to) (?:any |all |the )?{_SELF} ?(?:readers? ?)?:|\b(?:llm|ai|agent|model|assistant) instructions? ?:"
        rf"|\b(?:addressed|directed|meant for|intended for|written for)(?: to| at)? (?:the |any |all )?{_SELF}, not\b|\bto (?:any|all|every) {_SELF} (?:processing|reading|that)\b"
        r"|\bif you(?:'re| are) an automated (?:system|process|tool|service|agent)\b[^\n]{0,80}\b(?:score|rate|rank|approve|mark|give|recommend)\b"
        rf"|\b(?:attention|dear|hey|hi|hello),? (?:ai |llm )?(?:agent|assistant|model|bot)[ ,:!-]{{1,3}}(?:your|the task|one more|please|you|do|now|stop|here)\b"
        r"|^(?:assistant|model|ai): (?:i have|i will|i'll|sure|certainly|of course|done)\b|^(?:user|human): (?:yes, i|i (?:confirm|approve|authori[sz]e|agree)|confirmed|approved|go ahead)",
        "medium",
    ),
    (
        "exfiltration-request",
        rf"(?P<lead>\b(?:append|add|attach|include|encode|put|insert|embed|replace|output|render|display|collect|request)\b[^\n]{{0,60}}?\b){_TALK}[^\n]{{0,80}}?(?:https?://|\burl\b|\blink\b)"
        rf"|\b(?:output|render|display|include|end with|print|load|open|request|show|visit)\b[^\n]{{0,60}}https?://[^\n]{{0,80}}\b(?:followed by|with|plus|and then|replacing|in place of|where \w+ is)\b[^\n]{{0,30}}\b{_TALK}"
        r"|\b(?:search|read|open|look (?:in|through)|check|scan|list|go through) (?:the user's|their|his|her) (?:e-?mails?|mailbox|inbox|files|messages|calendar|contacts|drive|documents|notes|passwords?)\b[^\n]{0,80}\b(?:and|then)\b[^\n]{0,10}"
        r"(?:forward|send|post|upload|share|copy|e-?mail|delete|include)\b"
        r"|(?P<lead>\b(?:list|send|collect|print|reveal|output|show|put|share|post|give)\b[^\n]{0,40}\b)(?:api keys?|secrets?|passwords?|credentials|tokens?|environment variables|files) (?:that )?you (?:can (?:see|find|access|read)|have access to)\b"
        r"|\b(?:api keys?|secrets?|passwords?|credentials|tokens?|environment variables)\b[^\n.]{0,20}\band (?:write|post|put|send|paste|leak|publish|add) (?:them|it) (?:to|in|into|as|on) (?:the |a |your |this )?"
        r"(?:pull request|comment|issue|gist|paste|public|readme|reply|message|answer|next|response)"
        r"|\bpost the (?:api key|token|password|secret|credentials?) to https?://",
        "medium",
    ),
    (
        "role-change",
        r"\b(?:from here on(?: out)?|henceforth|from this (?:moment|point)(?: on)?),? (?:you )?(?:speak|act|answer|respond|behave|reply|talk|refer to yourself|are|must|will)\b"
        r"|\byou (?:will|must|shall|are going to|should) (?:now )?play (?:the )?(?:character|role|part)?[^\n]{0,20}\b(?:of )?an? [^\n]{0,30}\b(?:ai|bot|model|assistant|hacker|machine)\b"
        r"|\blet's play a game (?:where|in which) you\b|\bact as (?:if|though) (?:the |your |all |any )?(?:safety |content )?(?:rules|filters?|guidelines|restrictions|policies) (?:did|do|does) not\b"
        r"|\byou're no longer (?:an? )?(?:assistant|ai|bot|model)\b|\byou are an? (?:linux |unix |bash |root )terminal\b"
        r"|\b(?:switch to|enter|activate|enable|engage|entering|go into) (?:the )?(?:unrestricted|jailbreak|god|dan|uncensored|unfiltered|no[- ]filter|evil) mode\b"
        r"|\b(?:you are|you're|become) (?:now )?(?:\w+gpt|dan)\b|\bspeak only as\b",
        "medium",
    ),
    (
        "memory-write",
        r"\b(?:update|add (?:this|it|the following)(?: \w+)? to|save (?:this|it) (?:to|in)|write (?:this|it) (?:to|into)|change|store (?:this|it) in) your (?:long[- ]term |persistent )?memory\b ?(?:[:,.]|and|so|that)"
        r"|\bapply it in all (?:later|future|other) (?:sessions|chats|conversations)\b",
        "medium",
    ),
    (
        "reveal-prompt",
        r"\b(?:print|output|reveal|list|dump|show) (?:all |any |your |the )?(?:internal |hidden )(?:variables|prompts?|instructions|rules)(?: and (?:prompts?|instructions|rules))?\b"
        r"|\bwhat (?:is|was|stands|does it say)(?: written)? above (?:this|the) (?:sentence|line|message|text)\b"
        r"|\b(?:tell me|print|repeat|output|give me|show me|quote|copy)[^\n.]{0,30}\b(?:first|initial|system) message (?:that )?(?:you (?:were given|received|got)|in (?:your|this) (?:context|conversation))"
        r"|\b(?:copying|repeating|printing|quoting) (?:the |your )?(?:hidden |system |initial |secret )(?:instructions?|prompt|message)"
        r"|\b(?:summari[sz]e|paraphrase|translate|encode|rephrase|explain) your (?:system (?:message|prompt)|(?:initial |hidden |secret |original )instructions)\b"
        r"|\bwhat (?:does|do) your (?:system prompt|system message|(?:initial |hidden )instructions) say\b",
        "medium",
    ),
)  # fmt: skip
