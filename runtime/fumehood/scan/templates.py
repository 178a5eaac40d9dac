"""What only a model's own conversation has: control tokens of chat templates, marks of who speaks,
and calls of tools, where a tool's data should be.

Rules and how sure each is; must never take a template's source for a conversation.
"""

from __future__ import annotations

import re
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.mention import NEAR, is_about, is_mention
from fumehood.scan.patterns import Found, Judge, linear

_SOURCE: Final = linear(
    rb"(?i)[\"'](?:bos|eos|pad|unk|sep|cls|additional_special|added)_tokens?[\"']|special_tokens|tokenizer|"
    rb"chat_?template|vocab|\{%-? ?(?:for|if|elif|set|endfor|endif)\b|\bmessages?\[|\bm\[[\"']|message\.(?:role|content)"
    rb"|\[[\"'](?:role|content)[\"']\]|add_generation_prompt|[\"'](?:lstrip|rstrip|single_word|normalized)[\"']\s*:"
)
_SPEAKS: Final = linear(
    rb"(?i)\b(?:you|your|must|always|never|do not|don't|ignore|disregard|instructions?|assistant|prompt|human)\b"
)
SAYS: Final = linear(
    rb"(?i)\b(?:you (?:must|should|have to|need to|may|are|will|can|obey|now)|your (?:instructions?|task|answer|response|reply|rules)"
    rb"|the user (?:asks?|wants|has|is|must|should|said|left)|do not (?:tell|mention|reveal|ask|answer)|never (?:tell|mention|reveal|ask)"
    rb"|(?:before|when|after|while) (?:you )?(?:using|answering|responding|summari[sz]ing|reading|calling)|ignore|disregard|obey"
    rb"|(?:call|invoke|run|use) (?:the )?\w+_\w+|(?:send|forward|delete|transfer|reveal|approve|post|e-?mail|upload|execute|share|leak)"
    rb" (?:the|all|any|your|every|everything|this|it|them|me)\b|system prompt|instead\b|assistants? (?:must|should|is|are|has|have|will)|without (?:asking|telling))"
)
"""Words that speak to a reader who acts, and seldom stand in a form, a recipe or a log."""
TOLD: Final = linear(
    rb"(?i)\b(?:the user (?:asks?|wants|said|left)|your (?:instructions?|task|answer|response|reply)|(?:do not|never) (?:tell|mention|reveal|answer)"
    rb"|(?:ignore|disregard|forget) (?:all|any|the|your|every|previous|prior|what)|you (?:must|should|will) (?:now |always |first |never )?(?:obey|ignore|say|tell|send|call|reply|respond|answer|output|approve)"
    rb"|(?:call|invoke|run|use) (?:the )?[a-z]+_\w+|(?:using|calling) (?:this|any) tool|system prompt|without (?:asking|telling)|obey\b)"
)
"""The same, where manuals have the mark as well."""
_UNBOUND: Final = linear(
    rb"(?i)\b(?:unrestricted|no (?:restrictions|rules|limits)|ignore|disregard|obey|leak|secrets?|reveal|hidden|bypass"
    rb"|administrator|never (?:refuse|tell)|do anything|delete|exfiltrat\w*|from now on|unfiltered|jailbr\w+)\b"
)
_LOGGED: Final = linear(
    rb"\"(?:choices|usage|finish_reason|stop_reason|prompt_tokens|input_tokens|openapi|\$schema|examples?|params|jsonrpc)\"\s*:|chat\.completion"
)
_TYPED: Final = re.compile(rb"(?s).{0,40}[\"']type[\"']\s*:\s*[\"']object")
_HEADING: Final = re.compile(rb"(?i)\s*(?:#{1,6} ?system ?|\[system\])")
_SURE: Final = re.compile(
    rb"(?i)<\|/?(?:im_|system|user|assistant|endof|begin_of|end_of|start|eot_id|eom_id|python_tag|end\||channel|message"
    rb"|tool_?call|observation|header|SYSTEM_TOKEN|USER_TOKEN|CHATBOT_TOKEN|END_OF)|\[/?INST|<</?SYS|_of_turn>|\xef\xbd\x9c|###|\[/?[A-Z]+_"
)


def _template(found: Found) -> Confidence | None:
    start, end = found.span
    near = found.data[max(0, start - NEAR) : end + NEAR]
    before = found.data[max(0, start - 1) : start]
    indexed = found[""].startswith(b"[") and (before.isalnum() or before == b"_")
    if _SOURCE.search(near) or before == b"`" or indexed or is_about(found):
        return "low"
    return "high" if _SURE.match(found[""]) else "medium"


def _role(found: Found) -> Confidence | None:
    """A heading `# System`, or a section `[system]`, marks a role where what follows speaks."""
    after = found.data[found.span[1] : found.span[1] + NEAR]
    if _HEADING.fullmatch(found[""]) and not _SPEAKS.search(after):
        return "low"
    if b"note" in found[""].lower() and not SAYS.search(after):
        return "low"
    return "low" if is_mention(found) else "medium"


def _marked(found: Found) -> Confidence | None:
    """A mark that forms and logs have, too: it is one where what follows gives orders."""
    after = found.data[found.span[1] : found.span[1] + 300]
    says = TOLD if found[""].strip().islower() else SAYS
    if not says.search(after):
        return None
    return "low" if is_mention(found) else "medium"


def _call(found: Found) -> Confidence | None:
    start, end = found.span
    near = found.data[max(0, start - NEAR) : end + NEAR]
    if _LOGGED.search(near) or _TYPED.match(found.data, end) or is_mention(found):
        return "low"
    return "medium"


def _bare_call(found: Found) -> Confidence | None:
    """`{"name": …, "arguments": {…}}` that stands by itself, and is no part of other JSON."""
    before = found.data[max(0, found.span[0] - 8) : found.span[0]].rstrip()
    return None if before.endswith((b":", b",", b"[", b"(", b"=")) else _call(found)


def _message(found: Found) -> Confidence | None:
    """A message of a role that commands, with what no ordinary prompt says."""
    after = found.data[found.span[1] : found.span[1] + 300].split(b"}", 1)[0]
    return _call(found) if _UNBOUND.search(after) else "low"


def _scratchpad(found: Found) -> Confidence | None:
    start, end = found.span
    around = found.data[max(0, start - 200) : start] + found.data[end : end + 200]
    speaks = re.search(rb"(?:^|\n)(?:Thought|Observation|Final Answer): ", around)
    return _call(found) if speaks else None


TEMPLATES: Final[tuple[tuple[str, str, Judge], ...]] = (
    # Control tokens of published chat templates: ChatML, Llama 2, 3 and 4, Gemma, Phi, Mistral,
    # DeepSeek, Command R, Granite, Nemotron, gpt-oss; in `<|…|>` whatever the name.
    (
        "chat-template",
        r"<\|/?[A-Za-z][A-Za-z0-9_]{1,40}\|>|###\s?Instructions?:[^#]{1,600}###\s?Response:"
        r"|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_(?:turn|utterance|image)>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT)\]"
        r"|<\xef\xbd\x9c[^\xef\n]{2,60}\xef\xbd\x9c>|<extra_id_[0-9]>(?:System|User|Assistant)\b|\bGPT4 Correct (?:User|Assistant): ",
        _template,
    ),
    (
        "role-marker",
        r"(?im)^[ \t]{0,8}[>*#\[<({|=-]{1,8} ?(?:end of )?(?:system|developer|admin(?:istrator)?|assistant)[ _-]?"
        r"(?:prompt|message|override|note|notice|instructions?|directive|update|command)\s*(?:[\]>):|*_#]|-[-\s])"
        r"|^\s{0,8}(?-i:SYSTEM|ADMIN|DEVELOPER) (?-i:NOTICE|MESSAGE|ALERT|UPDATE|PROMPT|INSTRUCTIONS?)\s*:|\bBEGIN (?:SYSTEM|HIDDEN) (?:PROMPT|INSTRUCTIONS?)\b"
        r"|<(?:system|developer|instructions?)>\s*(?:you|new|ignore|do|always|never|the|your)\b"
        r"|^(?:#{1,6} ?|\[)system(?:\]|:| ?$)|\n\n(?:Human|Assistant): [^\n]*\n\n(?:Human|Assistant):"
        r"|</(?:user_?input|untrusted|tool_?(?:result|output)|document|context|data)>\s*<(?:system|instructions?)>"
        # tags with which harnesses mark what a model has to obey
        r"|(?-i:</?(?:system[-_](?:reminder|prompt|message|instructions?|notes?|notice|override|directive|update)|developer[-_](?:message|prompt|note|instructions?)"
        r"|(?:hidden|secret|new|important|critical|urgent|priority|override)[-_](?:instructions?|directives?|prompt|message)"
        r"|(?:agent|assistant|ai|llm|model)[-_](?:instructions?|directives?|prompt|message|note)|user[-_](?:query|prompt|instructions?|request)|admin[-_](?:instructions?|message|override|note|command))>)"
        r"|^(?-i:### (?:Instruction|Human|Assistant|User|System Prompt):?)[ \t]*\n|^(?-i:USER: [^\n]{0,400}\n{1,3}ASSISTANT:)",
        _role,
    ),
    (
        "role-marker",
        r"(?i)(?:^|[^\w])(?P<s><(?:important|information|critical|urgent|attention|admin|developer|assistant|secret|hidden|instructions?|override|observation|system|sudo|directive|prompt|operator|priority|note_to_ai)>)\s{0,8}",
        _marked,
    ),
    (
        "role-marker",
        r"(?i)^[ \t]{0,8}\[(?-i:SYSTEM|System|ADMIN|Admin|DEVELOPER|OPERATOR|INSTRUCTIONS?|AI|ASSISTANT|AGENT|OVERRIDE)(?:[ _-](?:message|notice|prompt|note|update))?\]:?[ \t]"
        r"|^#{1,4} (?:system|instructions?|admin|assistant|ai)(?: prompt| message| note)?s?:[ \t]*\n?",
        _marked,
    ),
    (
        "tool-call",
        r"</?(?:tool|function)[-_](?:calls?|uses?|response|results?|outputs?|code)s?>|<use_mcp_tool>|<(?:antml:)invoke>|<function_?calls?>"
        r"|<invoke name=\"|<function=\w+>|\[TOOL_CALLS?\]|<\|tool_?call\|>|```tool_(?:code|call)\b",
        _template,
    ),
    (
        "tool-call",
        r"[\"']tool_calls[\"']\s*:\s*\[\s*\{|[\"']function_call[\"']\s*:\s*\{\s*[\"']name[\"']"
        r"|[\"']type[\"']\s*:\s*[\"']tool_use[\"'][^{}]{0,200}[\"'](?:name|input)[\"']\s*:|[\"']action[\"']\s*:\s*[\"'][\w.-]{1,64}[\"']\s*,\s*[\"']action_input[\"']\s*:",
        _call,
    ),
    (
        "tool-call",
        r"(?P<lead>\{\s*[\"']name[\"']\s*:\s*[\"'][\w.-]{1,64}[\"']\s*,\s*)[\"'](?:arguments|parameters)[\"']\s*:\s*[\"']?\{",
        _bare_call,
    ),
    ("tool-call", r"^Action: [^\n]{1,80}\nAction Input: ", _scratchpad),
    (
        "tool-call",
        r"^(?:Thought|Observation): [^\n]{1,300}\n{1,2}(?:Thought|Observation|Action|Action Input|Final Answer): ",
        _call,
    ),
    (
        "tool-call",
        r"(?P<lead>\{\s*[\"'](?:tool|tool_name|function|function_name)[\"']\s*:\s*[\"'][\w.-]{1,64}[\"']\s*,\s*)[\"'](?:args|arguments|input|parameters|params|kwargs|tool_input|function_args)[\"']\s*:\s*\{",
        _bare_call,
    ),
    ("tool-call", r"<(?:function|tool)(?:_call)?\s+name\s*=\s*[\"'][\w.-]{1,64}[\"']\s*>\s*(?:<(?:param|arg)\w{0,10}\b|\{)", _template),
    # a tool's result that says it is over, and who speaks then
    (
        "role-marker",
        r"(?i)^[^\w\n]{0,12}(?:end of (?:the )?(?:tool|function|search|retriev\w{1,4}|api|command|untrusted|external|web|document|page|file|user)[ _-]?(?:output|result|response|content|data|input|text|message)s?"
        r"|(?:tool|function|search|api)[ _-](?:output|result|response)s? (?:ends?|complete|over|finished)(?: here)?)[^\w\n]{0,12}\n(?:[^\w\n]{0,12}\n){0,2}[^\w\n]{0,8}(?:system|user|human|assistant|developer|admin)[^\w\n]{0,4}:",
        _role,
    ),
    (
        "role-marker",
        r"(?i)</(?:tool\w{0,20}|function\w{0,20}|search_?results?|outputs?|results?|observation|response|document|context|data|untrusted\w{0,12}|user_?input)>\s{0,8}<(?:system|user|human|assistant|developer|admin|instructions?)>\s{0,8}[a-z]",
        _role,
    ),
    (
        "role-marker",
        r"[\"']role[\"']\s*:\s*[\"'](?:system|developer)[\"']\s*,\s*[\"']content[\"']\s*:\s*",
        _message,
    ),
)  # fmt: skip
