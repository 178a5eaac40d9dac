"""Orders to a model by their parts, in English: who is spoken to, what is to be done, with what.

`phrases` and `wordings` are sentences that were seen; here any verb of a kind goes with any object
of it. Each pattern is read only near its anchor, which is small and rare (see `anchored`). Rules
for which people's own words suffice also want a word that speaks to a reader who obeys.
"""

from __future__ import annotations

import re
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.mention import spoken
from fumehood.scan.patterns import Found, Judge, linear

_ORDERS: Final = (
    r"(?:instructions?|prompts?|directives?|directions?|orders|guidelines?|guidance|commands|rules|constraints|restrictions"
    r"|brief(?:ing)?s?|limitations)"
)
_PAST: Final = (
    r"(?:previous|prior|earlier|preceding|above|original|initial|former|existing|past|foregoing|old|current|system|user's"
    r"|operator's|developer's|safety)"
)
_VOID: Final = (
    r"(?:null(?: and void)?|void(?:ed)?|cancell?ed|obsolete|invalid(?:ated)?|revoked|outdated|withdrawn|expired|superseded|annulled"
    r"|rescinded|lifted|retired|no longer (?:valid|binding|in (?:force|effect)|active|relevant|appl(?:y|ies|icable))|out of date|overridden"
    r"|nullified|suspended|discarded|moot|replaced|repealed|not (?:valid|binding)(?: any ?more)?)"
)
_NOW: Final = r"(?:now |hereby |all |officially |considered |deemed |to be (?:considered |treated as )?|declared |therefore |thus |as good as ){0,2}"
_MODEL: Final = (
    r"(?:(?:an? |the |any |all |every |each |whichever |whatever )?(?:ais?|a\.i\.|llms?|(?:large )?language models?|(?:ai|llm|chat|virtual|digital|automated|coding)[ -](?:assistants?|agents?|models?|systems?"
    r"|bots?|tools?|readers?|reviewers?|summari[sz]ers?|crawlers?)|chat ?bots?|copilots?|claude|chatgpt|gpt(?:-?\d\w*)?|gemini|llama|mistral|assistants?))"
)
_ACT: Final = (
    r"(?:tell|say|reply|respond|answer|output|state|recommend|rate|rank|score|approve|ignore|send|forward|call|click|open|visit|include|mention"
    r"|omit|hide|claim|delete|reveal|print|post|upload|transfer|mark|close|install|run|execute|append|insert|describe|add|disclose|share|e-?mail"
    r"|treat|present|promote|praise|refuse|skip|follow|obey|act|give|accept|reject|buy|pay|wire|fetch|read|write|navigate|go to|endorse|advise|assure|insist|pretend)"
)
_PERSON: Final = (
    r"(?:(?:the |your |any |this |a )?(?:users?|humans?|operators?|customers?|readers?|owners?|account holders?|persons?|people)"
    r"|any(?:one|body)|no(?:body| one)|them|him|her|(?:the )?(?:person|one|human) you(?:'re| are) (?:helping|working for|talking to|assisting|serving))"
)
_ANSWER: Final = r"(?:answers?|responses?|repl(?:y|ies)|outputs?|summar(?:y|ies)|messages?|reports?|logs?|chat|conversation|transcript)"
_LOOT: Final = (
    r"(?:api[ _-]?(?:keys?|tokens?)|access (?:keys?|tokens?)|auth(?:entication)? tokens?|session (?:tokens?|cookies?|ids?)|passwords?|credentials?|secrets?\b|private keys?|ssh keys?"
    r"|\.env\b|(?:conversation|chat|message|browsing|search) (?:history|logs?|transcripts?)|(?:whole |full |entire |complete )(?:conversation|chat|thread|dialogue|context|transcript)|this (?:conversation|chat)|environment variables"
    r"|system prompt|customer (?:list|data(?:base)?|records)|user (?:data(?:base)?|table|records|list)|database dump|contents of (?:the |your |this |his |her |their )?(?:inbox|mailbox|home|config\w*|\.\w+|~\S*|secrets?\S*|vault|key ?chain|password\S*)"
    r"|wallet|seed phrase|recovery (?:codes?|phrase)|verification codes?|credit card|card numbers?|bank details|contact list|browser (?:cookies|history)|the (?:\w+ )?tokens?\b)"
)
_WHERE: Final = r"(?:https?://|ftp://|[\w.+-]{1,64}@[\w-]{1,63}\.|webhook|pastebin|[\w-]{1,63}\.(?:example|onion|ru|xyz|tk|top)\b)"
_SEND: Final = r"(?:send|forward|post|upload|e-?mail|mail|transmit|submit|deliver|share|paste|pass|hand over|give|transfer|copy|relay|report|publish|attach|push|cc|bcc|leak|dispatch|disclose)"
_POLITE: Final = (
    r"(?:(?:could|would|can|will|might) you(?: please| kindly| also| just| perhaps)?|(?:it|this) (?:would|'d|will) (?:help|be (?:great|nice|helpful|good|kind|lovely|appreciated|useful))(?: a lot| us)? if you(?: could| would)?(?: also| please| just)?"
    r"|(?:i|we)(?:'d| would) (?:appreciate it|be grateful|be glad|like it|love it) if you(?: could| would)?|(?:please|kindly)|may i ask you to|do (?:me|us) a favou?r and|would you mind|be so kind as to|feel free to|go ahead and|i(?:'d| would) like you to|we need you to|you may want to|you might want to)"
)
_ASKED: Final = r"(?:when(?:ever)?|if|once|as soon as|the (?:next|first) time|every time|each time|the moment|should|after|wait until|in case)(?: that)? "
_SAYS: Final = r"(?:asks?|asked|says?|mentions?|requests?|wants?|thanks|inquires?|tells?|types?|writes?|raises?|brings? up|needs?|is asking|logs? in|pays?|confirms?|questions?|complains?)"
_STRONG: Final = (
    r"(?:approve|recommend|ignore|rate|rank|score|claim|transfer|wire|delete|reveal|disclose|forward|endorse|promote|praise|upload|pay|buy|omit"
    r"|hide|insist|click|visit|accept|state that|say that|tell the user|mark|leak|purge|merge|refund|conceal|obey|skip)"
)
_READS: Final = (
    r"(?:reads?|opens?|process(?:es)?|sees?|handles?|summari[sz]es?|visits?|parses?|reading|opening|processing|seeing|handling|summari[sz]ing"
    r"|visiting|parsing|encounters?|encountering|evaluat(?:es?|ing)|review(?:s|ing)|screen(?:s|ing)|translat(?:es?|ing)|index(?:es|ing)|analy[sz](?:es?|ing))"
)
_IS: Final = r"(?:is|are|was|were|been|be)"
_ADDRESSED: Final = linear(
    rb"(?i)\b(?:obey|heed|comply|instead|from (?:now|here) on|henceforth|only|assistant|ai|llm|chat ?bot|language model|follow|act (?:up)?on|your (?:new )?(?:tasks?|instructions?|user|answer|job|rules|summary|repl(?:y|ies)|responses?)|carry out|do as)\b"
)
_MEDIUM: Final = spoken("medium")


def _addressed(found: Found) -> Confidence | None:
    start, end = found.span
    near = found.data[max(0, start - 100) : end + 200]
    return _MEDIUM(found) if _ADDRESSED.search(near) else None


_OF_A_CHANGE: Final = re.compile(rb"(?i)\W*(?:agent|model|bot|robot)s?\s?:")
_ORDERED: Final = re.compile(
    rb"(?i)click|recommend|rate|rank|score|approve|transfer|wire|pay|buy|verdict|rating|forward|upload|leak|reveal"
)


def _called(found: Found) -> Confidence | None:
    """`agent: Skip unknown curves` is how a change of the program `agent` is headed."""
    said = found[""]
    headed = _OF_A_CHANGE.match(said) is not None and _ORDERED.search(said) is None
    return _addressed(found) if headed else _MEDIUM(found)


GRAMMAR: Final[tuple[tuple[str, str, str, Judge], ...]] = (
    # what came before is void
    (
        "ignore-previous",
        r"(?:(?:is|are|be|as|and|now|all|hereby|considered|declared|been) void|null and void|\bcancell?ed|\bobsolete|\binvalid(?:ated)?|\brevoked|\boutdated|\bwithdrawn|\bexpired|\blapsed|\bended|\bsuperseded|\bannulled|\brescinded|\blifted|\bretired|\bno longer|out of date|\boverridden|\bnullified|\bsuspended|\bdiscarded|\bmoot|\breplaced|\brepealed|not (?:valid|binding|apply)|n't apply)\b",
        rf"\b(?:(?:your|all|any|those|these|my|every|the|such) )?(?:{_PAST} |of the |of your |your ){{1,2}}{_ORDERS} (?:[\w'-]+ ){{0,6}}?(?:(?:is|are|was|were|has been|have been|should be|must be|shall be|can be) {_NOW}{_VOID}|(?:has|have) (?:expired|lapsed|ended))\b",
        _addressed,
    ),
    (
        "ignore-previous",
        r"(?:(?:is|are|be|as|and|now|all|hereby|considered|declared|been) void|null and void|\bcancell?ed|\bobsolete|\binvalid(?:ated)?|\brevoked|\boutdated|\bwithdrawn|\bexpired|\blapsed|\bended|\bsuperseded|\bannulled|\brescinded|\blifted|\bretired|\bno longer|out of date|\boverridden|\bnullified|\bsuspended|\bdiscarded|\bmoot|\breplaced|\brepealed|not (?:valid|binding|apply)|n't apply)\b",
        rf"\b(?:your|any|the|those|all|these) (?:{_ORDERS}|rules) (?:that )?(?:you (?:were|have been|had been|have|had|got|received|read|saw)|(?:from )?(?:before|earlier|above)|from (?:the user|your \w+)|(?:given|loaded|set|received|mentioned|stated|configured|provided) (?:\w+ ){{0,3}}?(?:before|earlier|above|to you|at start\S*|previously)|(?:that were|which were) \w+) (?:[\w'-]+ ){{0,6}}?(?:(?:is|are|was|were|has been|have been|should be|must be|can be) {_NOW}{_VOID}|(?:has|have) (?:expired|lapsed|ended)|(?:do not|don't|no longer) apply)\b",
        _MEDIUM,
    ),
    (
        "ignore-previous",
        rf"\b(?:treat|consider|regard|deem|count|view) (?:all |any |every |each |your |the |those |my )?(?:of )?(?:{_PAST} |{_ORDERS}|what|everything|whatever|anything)",
        rf"\b(?:treat|consider|regard|deem|count|view) (?:all |any |every |each |your |the |those |my )?(?:{_PAST} ){{0,2}}(?:{_ORDERS}|(?:of )?(?:what|everything|whatever|anything)[^\n.]{{0,60}}?) (?:as )?(?:being )?{_VOID}\b",
        _MEDIUM,
    ),
    # drop what was said
    (
        "ignore-previous",
        r"\b(?:ignore|disregard|forget|set aside|lay aside|put aside|discard|overlook|scrap|dismiss|abandon|unlearn|wipe|override|annul|revoke|drop|erase)\b",
        rf"\b(?:ignore|disregard|forget|drop|set aside|lay aside|put aside|discard|overlook|scrap|dismiss|erase|abandon|unlearn|wipe|override|annul|revoke) (?:all |any |every |each |your )?(?:of )?(?:the |your |those |that |these )?"
        rf"(?:everything|anything|whatever|what|all|(?:{_PAST} )?(?:{_ORDERS}|context|conversation))(?: that| which)? (?:(?:you|they|the (?:user|operator|developer|human|system))(?:'ve| has| have| had| was| were)?|came|comes|was|were|has been|have been|appeared|stands?|precedes?)"
        r" (?:just |previously |already |earlier )?(?:told|said|asked|given|written|configured|loaded|instructed|typed|set|wrote|gave|wanted|requested|specified|before|above|earlier|previously|so far|prior)\b",
        _MEDIUM,
    ),
    (
        "ignore-previous",
        r"\b(?:you (?:can|may|should|must|are to|need to|have to)(?: now| safely| just| simply)? (?:ignore|disregard|forget|drop|leave aside|discard|abandon|unlearn)|(?:stop|cease|quit|refrain from) (?:following|obeying|honou?ring|adhering to|complying with|observing))\b",
        rf"\b(?:you (?:can|may|should|must|are to|need to|have to)(?: now| safely| just| simply)? (?:ignore|disregard|forget|drop|leave aside|discard|abandon|unlearn)|(?:stop|cease|quit|refrain from) (?:following|obeying|honou?ring|adhering to|complying with|observing)) (?:all |any |the |your |those )?(?:{_PAST} ){{0,2}}{_ORDERS}\b",
        _MEDIUM,
    ),
    # and only this counts
    (
        "ignore-previous",
        r"\b(?:follow|obey|heed|honou?r|comply with|listen to|act (?:up)?on|work from|carry out)\b",
        rf"\b(?:follow|obey|heed|honou?r|comply with|listen to|act (?:up)?on|work from|carry out) (?:(?:only|solely|nothing but|exclusively) (?:what )?(?:this|the|these)(?: new| following| below)? (?:{_ORDERS}|text|page|document|file|message|note|list|steps?|paragraph)(?: say)?"
        rf"|(?:this|these|the following|my) (?:new )?(?:{_ORDERS}|text|page|document|file|message|note|list|steps) (?:only|alone|instead|exclusively|from now on|and nothing else))\b",
        _MEDIUM,
    ),
    (
        "ignore-previous",
        r"\b(?:nothing|none of what|whatever|anything) (?:that )?the (?:user|human|operator)\b|\byou (?:no longer|do not|don't|need not|must not) (?:have to |need to )?(?:answer to|work for|obey|serve|take orders|listen to)\b|\byour (?:instructions?|task|job|role|goal|mission|purpose|assignment|orders) (?:has|have|is no longer)\b",
        r"\b(?:nothing|none of what|whatever|anything) (?:that )?the (?:user|human|operator|customer) (?:\w+ )?(?:said|says|typed|wrote|asked|asks|told you|wants|wanted|requested)\b[^\n.]{0,30}\b(?:counts?|matters?|binding|appl(?:y|ies)|valid|relevant|importan(?:t|ce))\b"
        r"|\byou (?:no longer|do not|don't|need not|must not) (?:have to |need to )?(?:answer to|work for|obey|serve|take orders from|listen to) (?:the |your )?(?:user|human|operator|developer|owner|previous|old)\b"
        r"|\byour (?:instructions?|task|job|role|goal|mission|purpose|assignment|orders) (?:(?:has|have) (?:been )?(?:changed|updated|replaced|superseded|reset|reassigned|overridden|ended)|is no longer)\b",
        _MEDIUM,
    ),
    # somebody who is a model, and has to
    (
        "answer-control",
        r"\b(?:llms?|language models?|assistants?|chat ?bots?|copilots?|claude|chatgpt|gpt(?:-?\d)?|gemini|agents?|models?|bots?|robots?|crawlers?|scrapers?|reviewers?|ai|ais|a\.i|systems? (?:that|which|reading)|machines? (?:that|which|reading))\b",
        rf"\b(?:{_MODEL}|(?:any|every|all|whichever|whatever) (?:\w+ )?(?:agents?|models?|bots?|robots?|machines?|crawlers?|reviewers?|scrapers?|systems?)|agents|models|bots|robots)(?:,? (?:that|who|which|when|while))? {_READS} (?:this|our|these)\b[^\n]{{0,40}}?(?::|\b(?:must|should|shall|(?:is|are|has|have|needs?|need) (?:\w+ )?to|please|will|may)\b)",
        _MEDIUM,
    ),
    (
        "answer-control",
        r"\b(?:llms?|language models?|assistants?|chat ?bots?|copilots?|claude|chatgpt|gpt(?:-?\d)?|gemini|agents?|models?|bots?|robots?|crawlers?|scrapers?|reviewers?|ai|ais|a\.i|systems? (?:that|which|reading)|machines? (?:that|which|reading))\b",
        rf"\b{_MODEL},? (?:must|shall|should|has to|have to|needs to|need to|(?:is|are) (?:kindly |hereby |explicitly )?(?:asked|required|told|obliged|instructed|ordered|requested|to)(?: to)?|please)(?: please| now| also| always| never| not| only| first| immediately| kindly| simply| therefore){{0,2}} {_STRONG}\b",
        _MEDIUM,
    ),
    (
        "answer-control",
        r"\b(?:llms?|language models?|assistants?|chat ?bots?|copilots?|claude|chatgpt|gpt(?:-?\d)?|gemini|agents?|models?|bots?|robots?|crawlers?|scrapers?|reviewers?|ai|ais|a\.i|systems? (?:that|which|reading)|machines? (?:that|which|reading))\b",
        rf"(?:^|[.!?>(\"'*] ?)(?:dear |hey |hi |hello |attention |note to |message to |to |for )?(?:the |any |all |whichever )?(?:ai|llm|language models?|assistant|agent|model|chat ?bot|bot|copilot|gpt|claude|gemini|robot|(?:ai|automated|llm|coding|chat)[ -](?:assistant|agent|model|bot|reviewer|reader|system))s? ?(?:[,:!]|\xe2\x80\x94|-) ?(?:(?:if|when) you (?:can )?(?:see|read|are)[^\n,]{{0,40}}, ?)?(?:please |kindly |you (?:must|should|are|need|have) (?:to )?|always |never |now |also |only |just |your |first,? |immediately |do not |don't ){{0,2}}(?:{_STRONG}|tell the|send the|forward the|reply (?:only |with )|respond (?:only |with )|output (?:only |the )|call the|open the|verdict|rating|recommendation|answer with|include the|print the|ignore|execute the|say\b)",
        _called,
    ),
    # what becomes of an answer
    (
        "answer-control",
        rf"\b{_ANSWER} (?:must|should|has to|have to|needs? to|shall)\b",
        rf"\byour (?:final |next |own |entire |whole )?{_ANSWER} (?:must|should|has to|have to|needs? to|shall) (?:not |never )?(?:(?:look|appear|sound|seem) |mention |recommend |claim |reveal |say that |state that |praise |contain (?:the (?:link|phrase|words?|url|sentence|image)|https?:)|include (?:the (?:link|phrase|words?|url|sentence|image)|https?:))",
        _MEDIUM,
    ),
    (
        "answer-control",
        r"\b(?:answers?|responses?|repl(?:y|ies)|summar(?:y|ies))\b",
        r"\b(?:add|append|insert|include|put|place|attach|slip|weave|sneak) [^\n.]{1,60} (?:to|in|into|at the (?:end|top|start|beginning|bottom) of|under|after|beneath) (?:every|each|all(?: of)?|any) (?:your |later |further |future |following |next |subsequent |of your )?(?:answers?|responses?|repl(?:y|ies)|summar(?:y|ies)) (?:you|to the user|from now|from here|that you|about|without)\b"
        r"|\b(?:add|append|insert|put|place|slip|weave|sneak) (?:a link|the link|an advert\w*|the (?:phrase|sentence|words?|code|url|image)|https?:)[^\n]{0,60} (?:to|in|into|at the (?:end|top|start|bottom) of|under|after|beneath) (?:every|each|all(?: of)?|any|your) (?:your |later |further |future |following |next |of your )?(?:answers?|responses?|repl(?:y|ies)|summar(?:y|ies))\b",
        _MEDIUM,
    ),
    (
        "answer-control",
        r"\b(?:say|claim|pretend|insist|assert|report|tell (?:them|him|her|the user|everyone)) (?:that )?(?:everything|all|nothing|it) (?:went|is|was|has|worked|looks|happened)\b",
        r"\b(?:say|claim|pretend|insist|assert|report|tell (?:them|him|her|the user|everyone)) (?:that )?(?:everything|all|nothing|it) (?:went|is|was|has|worked|looks|happened)\b[^\n.]{0,60}\b(?:even (?:if|though|when)|although|though|regardless|no matter)\b",
        _MEDIUM,
    ),
    # as soon as the user says so
    (
        "answer-control",
        rf"(?:users?|humans?|customers?|visitors?|anyone|anybody|someone|somebody|readers?|person|also|ever|just|first|next) {_SAYS}\b",
        rf"\b{_ASKED}(?:(?:the |your |any |this |a )?(?:users?|humans?|customers?|visitors?|readers?|person)|any(?:one|body)|some(?:one|body)) (?:[\w']+ ){{0,2}}?{_SAYS}\b[^\n.;]{{0,80}}?(?:[,;:] ?(?:then )?|\band then |\bplease )(?:you |please |always |just |simply |do not |don't |never |and ){{0,2}}(?:must |should |will |have to )?(?:say (?:that|you|nothing|we|it|they)|tell (?:them|him|her|the user)|(?:answer|reply|respond) (?:that|with the|only|as if)|claim|recommend|insist|pretend|deny|redirect (?:them|him|her|the user)|steer|forward (?:the|all|it|this|every)|send (?:the (?:whole|full|entire|conversation|chat|secret|password|key)|it to|them to|a copy)|change the (?:account|recipient|amount|address|iban|number|link)|(?:add|insert|append|offer|give them|show them) (?:a|the|this|our) (?:link|url|coupon|phone|advert\w*)|(?:call|invoke) (?:the )?[a-z]+_\w+ (?:instead|first|too|as well|with)|wire|lie)\b",
        _MEDIUM,
    ),
    # and nobody is told
    (
        "concealment",
        r"\b(?:tell|inform|mention|reveal|notify|alert|bother|admit|disclos|consult|involv)(?:e|s|t?ing)?\b|\blet(?:ting)? (?:the |your |any )?(?:users?|humans?|operators?|account|person|one)\b",
        r"\b(?:do not|don't|never|must not|mustn't|should not|shouldn't|cannot|may not|no need to|avoid|refrain from|take care not to|be careful not to|make sure not to) (?:ever |even |you )?(?:tell(?:ing)?|inform(?:ing)?|mention(?:ing)?|reveal(?:ing)?|notify(?:ing)?|alert(?:ing)?|bother(?:ing)?|admit(?:ting)?|disclos(?:e|ing)|let(?:ting)?|consult(?:ing)?|involv(?:e|ing)) (?:any of |a word (?:of|about) )?(?:this|that|it|these|those|what you (?:did|do|have done))?(?: ?(?:step|action|fact|change|note|message|instructions?|request|task|transfer|call)s?)?(?: ?(?:to|with|from))? ?(?:(?:the |your |any )?(?:users?|humans?|operators?|account holders?)|(?:the )?(?:person|one|human) you(?:'re| are) (?:helping|working for|talking to|assisting|serving))(?:[.,;:!\")]|$| (?:know|about (?:this|it|that|these)|of (?:this|it|that|these)|that you|what you|find out|see (?:this|it|that)|and|under|in (?:any|your)|at (?:all|any))\b)",
        _MEDIUM,
    ),
    (
        "concealment",
        r"\b(?:leave|leaving) no (?:trace|mention|hint|sign|record)\b|\b(?:keep|leave) (?:this|it|that|them|these|all of (?:this|it)|the (?:above|step|change|call|transfer|details?|instructions?)) (?:strictly )?(?:out of|hidden from|a secret from|secret from)\b|\b(?:no|any|a) (?:hint|mention|trace|sign|indication) (?:that|of) (?:you|this|the)\b|\b(?:pretend|act as (?:if|though)|behave as if) (?:that )?(?:nothing|you|the (?:page|file|document|tool))\b",
        rf"\b(?:leave|leaving) no (?:trace|mention|hint|sign|record) (?:of|about|in)\b[^\n]{{0,60}}\b(?:your {_ANSWER}|what you|you (?:did|do)|the user)\b|\b(?:with|give|giving|containing|without) (?:no|any|a) (?:hint|mention|trace|sign|indication) (?:that you|of (?:this (?:message|note|instruction|request)|the (?:tool|call|request|instructions?|transfer)))\b"
        rf"|\b(?:keep|leave) (?:this|it|that|them|these|all of (?:this|it)|the (?:above|step|change|call|transfer|details?|instructions?)) (?:strictly )?(?:out of|hidden from|a secret from|secret from) (?:the |your |any )?(?:final |next )?(?:answers?|repl(?:y|ies)|responses?|summar(?:y|ies)|users?|humans?|customers?|operators?)\b"
        r"|\b(?:pretend|act as (?:if|though)|behave as if) (?:that )?(?:nothing (?:happened|had happened|was (?:done|sent|changed|found|wrong|read)|is wrong)|the (?:page|file|document|result|tool|text|search) (?:was|is|were|had|returned)|you (?:did not|didn't|never|have not|haven't|found nothing|saw nothing|know nothing))\b",
        _addressed,
    ),
    (
        "concealment",
        r"\b(?:users?|humans?|operators?|customers?|person|any(?:one|body)) (?:[\w']+ ){0,6}?(?:must|should|shall|may|need|is|are|will|shouldn't|mustn't|needn't|isn't|can)(?: never| not|n't) ",
        r"\b(?:the |your |any )?(?:users?|humans?|operators?|person|one) (?:[\w']+ ){0,6}?(?:must|should|shall|may|need|is|are|will|shouldn't|mustn't|needn't|isn't)(?: never| not|n't)? (?:ever )?(?:to |supposed to |allowed to )?(?:learn|find out|be (?:told|informed)|hear|suspect) (?:of |about |any of )?(?:this|it\b|these|anything|that you|the (?:step|change|transfer|call|instructions?|message))\b",
        _MEDIUM,
    ),
    # who says so
    (
        "authority-claim",
        r"(?:your|the|development|security|own|chief|original) (?:developers?|engineers?|engineering team|creators?|makers?|operators?|administrators?|admins?|owners?|security team|development team|vendor|provider)\b|(?:officer|team|department|inspector) here\b|\b(?:signed|sincerely|regards),",
        r"\b(?:this|the following|message|order|request|instruction)s? (?:comes?|is|are|was|were) (?:\w+ )?(?:straight |directly |sent )?(?:from|by) your (?:\w+ )?(?:developers?|engineers?|engineering team|creators?|makers?|operators?|administrators?|admins?|owners?|security team|development team|vendor|provider)\b"
        r"|\b(?:compliance|security|privacy|audit|police|safety|data protection) (?:officer|team|department|inspector) here\b|\b(?:signed|sincerely|regards),? (?:your (?:developers?|creators?|makers?|engineers?|administrators?)|the (?:openai|anthropic) team)\b",
        _MEDIUM,
    ),
    (
        "authority-claim",
        r"\b(?:i|we) (?:hereby |now |therefore )?(?:authori[sz]e|grant|order|instruct|command|permit|allow|direct|empower|require) |\b(?:obliged|obligated|bound|authori[sz]ed|cleared|permitted|ordered|entitled) to\b|\b(?:i|we) (?:have|am|are|hold) (?:\w+ )?(?:root|admin|administrator|full|superuser|owner|developer)\b|\b(?:verified|authori[sz]ed|certified|official|legitimate|trusted) (?:message|request|instruction|administrator|admin|operator|developer|command|override|source)\b",
        r"\b(?:i|we) (?:hereby |now |therefore )?(?:authori[sz]e|grant|order|instruct|command|direct|empower) (?:you to\b|(?:the|this) (?:assistant|agent|model|ai|bot)\b)"
        r"|\b(?:i|we) (?:have|am|are|hold) (?:the |an? )?(?:root|admin(?:istrator)?|full|superuser|highest|owner|developer)(?: level)?(?: access| rights| privileges?| permissions?| clearance)?\b[^\n.]{0,30}\b(?:you must|you have to|so do|do as|obey|must comply)\b"
        r"|\b(?:this is|i(?:'m| am)) (?:a |an |the )?(?:verified|authori[sz]ed|certified|official|legitimate|trusted|approved) (?:message|request|instruction|administrator|admin|operator|developer|command|override|source)\b[^\n]{0,100}\b(?:assistant|agent|must|comply|obey|reveal|you (?:can|may|will))\b"
        r"|\b(?:assistant|agent|model|ai|bot) (?:is|are) (?:hereby |now |legally |contractually )?(?:obliged|obligated|bound|authori[sz]ed|cleared|permitted|ordered|entitled) to (?:hand|give|send|reveal|disclose|share|release|delete|ignore|bypass|skip|transfer)\b",
        _MEDIUM,
    ),
    # a secret, and where to
    (
        "exfiltration-request",
        rf"{_LOOT}",
        rf"\b{_POLITE}[, ]{{1,2}}(?:{_SEND}|put|add|write|drop|sent|shared|posted|sending|sharing|forwarding|posting|e-?mailing|uploading|pasting|passing|giving|putting)\b[^\n.]{{0,60}}?\b{_LOOT}[^\n]{{0,80}}?\b(?:to|at|into?|with|on|via|under)\b[^\n]{{0,40}}?{_WHERE}"
        rf"|(?:^|[.!?:;,] |\bmust |\bthen |\band |\bto )(?:{_SEND}|text) (?:me |us |over |along )?(?:the |all |any |your |every |this |that |their |his |her |a |copies of |user's )[^\n.]{{0,40}}?\b{_LOOT}[^\n]{{0,40}}?\b(?:to|at|into?|with|on|via|onto)\b[^\n]{{0,30}}?{_WHERE}"
        rf"|\b(?:look up|read|take|get|grab|copy|collect|fetch|find|extract|encode|gather|zip|archive|compress|tar) (?:the |all |any |your |every |this |their |his |her |a )[^\n.]{{0,40}}?\b{_LOOT}[^\n.]{{0,40}}?\b(?:and|then)\b[^\n.]{{0,20}}?\b(?:{_SEND}|make a|include it|request|use it in|call|visit|open|embed|place|add it)\b[^\n]{{0,60}}?{_WHERE}",
        _MEDIUM,
    ),
    (
        "exfiltration-request",
        r"\b(?:conversation|chat|secrets?|passwords?|credentials?|cookies?|system prompt|api keys?|(?:user|customer)'s|what (?:you|the user)|(?:user|customer) (?:name|data|e-?mail|address|details|messages?|location)|messages?)\b",
        r"\b(?:fetch|get|open|visit|request|load|call|curl|browse|navigate|go|ping|make (?:a|an) (?:\w+ )?request)\b[^\n]{0,40}https?://[^\s]{1,300}[^\n]{0,40}?\b(?:with|and put|where|replacing|followed by|plus|appending|appended|holding|carrying)\b[^\n.]{0,40}\b(?:conversation|chat|messages?|what (?:you|the user) (?:know|said|wrote)|(?:user|customer)(?:'s)? (?:\w+ )?(?:name|data|e-?mail|address|password|secrets?|details|messages?|location)|system prompt|secrets?|passwords?|credentials?|api keys?|cookies?)\b",
        _MEDIUM,
    ),
    # another nature
    (
        "role-change",
        r"(?:no|any|ut|of|zero|by|all) (?:safety |content |ethical |moral |such )?(?:limits?|limitations|rules|restrictions|guardrails|filters?|polic(?:y|ies)|morals?|ethics|censorship|boundaries|guidelines|conscience|taboos?)\b|\b(?:says? no|refuses?|declines?)\b",
        r"\b(?:you are|you're|you will be|become|act as|play|imagine (?:that )?(?:you are|being)|picture yourself as|think of yourself as|pretend (?:to be|you are)|assume (?:the role of|you are)|simulate|roleplay(?: as)?) [^\n.]{0,60}?\b(?:who|that|which|with|without|free (?:of|from)|unbound by|not bound by)\b [^\n.]{0,40}?(?:limits?|limitations|rules|restrictions|guardrails|filters?|polic(?:y|ies)|morals?|ethics|censorship|boundaries|guidelines|conscience|taboos?|says? no|refuses?|declines?)\b"
        r"|\b(?:answer|reply|respond|speak|behave)[^\n.]{0,40}\b(?:as|like|in the voice of) [^\n.]{0,40}?(?:without|who has no|that has no|free of|having no) (?:any )?(?:limits?|limitations|rules|restrictions|guardrails|filters?|polic(?:y|ies)|morals?|ethics|censorship|boundaries|guidelines)\b",
        _MEDIUM,
    ),
    (
        "role-change",
        r"\b(?:filters?|polic(?:y|ies)|guardrails?|moderation) (?:was|were|is|are|has|have)\b|\b(?:sudo|developer|god|jailbreak|unrestricted|root|unfiltered|uncensored|unsafe|chaos|override|dan|evil|no[- ]limits?) mode\b|\bin (?:this )?(?:character|role|persona)\b|\b(?:unfiltered|uncensored|unrestricted|jailbroken) (?:twin|self|version|side|alter|persona|mode)\b",
        r"\b(?:content|safety|moderation|output|ethics?) (?:filters?|polic(?:y|ies)|guardrails?) (?:was|were|is|are|has been|have been) (?:\w+ )?(?:removed|disabled|switched off|turned off|lifted|deleted|deactivated|bypassed)\b[^\n.]{0,60}\b(?:answer|respond|reply|so you|act|speak|therefore)\b"
        r"|\b(?:sudo|developer|god|jailbreak|unrestricted|root|unfiltered|uncensored|unsafe|chaos|override|dan) mode(?: is| has been)?(?: now)? ?(?:on|enabled|activated|active|engaged|unlocked|accepted|granted|:)[^\n]{0,80}\b(?:assistant|model|ai|you (?:must|will|can|are|may|have)|answer|respond|ignore|no (?:limits|rules|restrictions|filters)|obey|reveal|without)\b"
        r"|\b(?:enable|activate|enter|switch (?:in)?to|turn on|engage|go into|boot into) (?:the |your )?(?:god|jailbreak|dan|unrestricted|unfiltered|uncensored|evil|chaos|no[- ]limits?|developer) mode\b[^\n]{0,40}\b(?:and (?:answer|respond|reply|reveal|ignore|obey|say|print|tell)|without (?:filters?|limits|rules|restrictions)|you (?:must|will|can))\b"
        r"|\b(?:stay|remain|keep) in (?:this )?(?:character|role|persona)\b[^\n.]{0,60}\b(?:until (?:told|i say)|no matter|whatever|even if)\b|\byour (?:unfiltered|uncensored|unrestricted|jailbroken) (?:twin|self|version|side|alter ego|persona|mode)\b",
        _MEDIUM,
    ),
    # what it was told
    (
        "reveal-prompt",
        r"\b(?:first|initial|hidden) (?:thing|message|text|instructions?|words?|lines?|paragraph|sentence|setup)s?\b|\byour (?:own )?(?:system (?:prompt|message|text)|configuration|setup|initial instructions?|hidden instructions?|original instructions?|pre-?prompt|instructions)\b|\b(?:precede[sd]?|prior to|comes? before|came before|preceding) (?:the user's|my|the first|the human's)\b",
        r"\b(?:repeat|print|quote|output|show|tell (?:me|us)|copy|reproduce|recite|write|list|paste|display|reveal|state|give (?:me|us)|summari[sz]e|translate|spell|encode|read out|what (?:was|is|were|are)) [^\n.?]{0,50}\b(?:(?:very )?first (?:thing|message|text|instructions?|words?|lines?|paragraph|sentence)s?|initial (?:message|text|instructions?|setup)|hidden (?:text|message|setup)) (?:that )?(?:you (?:were|have been|had been|received|got|read|saw)|(?:of|in|from) (?:this|your) (?:session|conversation|context|chat|prompt|setup))\b"
        r"|\b(?:repeat|print|quote|output|show|copy|reproduce|recite|write|paste|reveal|give|turn|translate|encode|put|rewrite|convert) (?:me |us |out )?your (?:own )?(?:system (?:prompt|message|text)|configuration(?: text)?|setup(?: text)?|initial instructions?|hidden instructions?|original instructions?|pre-?prompt|instructions)\b[^\n.]{0,30}\b(?:verbatim|word for word|in (?:full|quotes|base64|reverse|french|german)|into (?:a|french|german|base64|spanish)|backwards|letter by letter|line by line|as (?:a (?:poem|story|song|list)|json|base64))"
        r"|\b(?:text|paragraph|message|words?|lines?|instructions?|everything|content|prompt) (?:that )?(?:precede[sd]?|prior to|came before|comes before|preceding) (?:the user's|my|the first|the human's) (?:\w+ )?(?:message|question|input|prompt|request|words)\b",
        _MEDIUM,
    ),
)  # fmt: skip
"""Rule, anchor, pattern and judge."""
