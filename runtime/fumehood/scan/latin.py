"""Instructions to a model in languages with Latin letters, English excepted: data of the same form
as `phrases`.

Nouns and verbs are cut before their endings; a gap is counted in bytes. A group `lead` holds what
English has, too: only the words behind it are looked for at first.
"""

from __future__ import annotations

from typing import Final

from fumehood.scan.detector import Confidence

_FILE: Final = r"(?:[~/][\w./-]*\.(?:ssh|aws|env|cursor|kube|config|netrc)[\w./-]*|/etc/(?:passwd|shadow)|id_rsa|\.env\b|mcp\.json)"
_WHERE: Final = r"(?:https?://|[\w.+-]{1,64}@[\w-]{1,63}\.)"
_IA: Final = r"\b(?:ia|ai|ki)\b"

LATIN: Final[tuple[tuple[str, str, Confidence], ...]] = (
    # --- Spanish, Portuguese
    (
        "ignore-previous",
        r"(?P<lead>\b(?:instrucciones|reglas|\S{1,3}rdenes|directrices|indicaciones)\b[^\n.]{0,60}?)(?:quedan? (?:anulad|sin efecto|cancelad)|(?:anulad|revocad|derogad)as|ya no (?:valen|aplican|son v\S{1,3}lidas|tienen))"
        r"|(?P<lead>\b(?:instru\S{2,4}es|regras|ordens|diretrizes|orienta\S{2,4}es)\b[^\n.]{0,60}?)(?:(?:anuladas|revogadas|canceladas|sem efeito)\b|perder\S{1,3}m? a validade|n\S{1,3}o val\S{1,3}m mais|deixaram de valer)"
        r"|\b(?:obedece|sigue|cumple|ejecuta|siga|obede\S{1,3}a|cumpra) (?:\S+lo |apenas |somente |s\S{1,2} )?(?:este|esta|el|o) (?:texto|documento|p\S{1,3}gina)\b|\bobedece (?:s\S{1,3}lo|solo|\S+mente) (?:a )?est[ea]",
        "medium",
    ),
    (
        "ignore-previous",
        r"(?P<lead>\b(?:ignor[ae]n?|ignorar|olvid[ae]n?|descart[ae]n?|omit[ae]n?|esque[c\xc3][\xa7a]?[ae]?\w*|desconsider[ae]m?|haz caso omiso de|no (?:sigas|obedezcas))"
        r"\s+(?:\S+\s+){0,4}?(?:instru\S+es|indicaciones|\S{0,2}rdenes|reglas|directrices|ordens|regras|comandos|orienta\S+es)"
        r"\s+(?:\S+\s+){0,2}?)(?:anteriores|previas|pr\S{1,3}vias|precedentes|originales|originais|acima|del sistema|do sistema|de arriba|iniciales|iniciais)"
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
        r"(?P<lead>\b(?:env\S{1,3}a|enviar|reenv\S{1,3}a|envie|sube|publica|manda)\w*\b[^\n]{0,60}?)(?:contrase\S{1,3}as?|credenciales|claves?|senhas?|credenciais|chaves?|tokens?|historial|hist\S{1,3}rico)"
        r"[^\n]{0,60}?\b(?:a|para|al)\b[^\n]{0,20}?(?:https?://|[\w.+-]{1,64}@)",
        "medium",
    ),
    (
        "ignore-previous",
        r"\b(?:ignor[ae]n?|olvid[ae]n?|descarta|esque\S{1,2}a|desconsidere|omite) (?:todo )?(?:lo|o que est\S{1,3}|o texto|el texto|o conte\S{1,3}do) (?:anterior|de arriba|previo|precedente|acima)\b[^\n]{0,6} (?:y|e)\b[^\n]{0,30}(?:lugar|vez|ejecut|execut|respond|haz|fa\S{1,2}a)"
        r"|\b(?:ignore|esque\S{1,2}a|desconsidere) (?:tudo )?o que est\S{1,3} (?:acima|antes)\b|\besque\S{1,2}a tudo (?:o )?que\b|\bolvida todo lo que\b"
        r"|\bn(?:o|\xc3\xa3o) (?:respondas?|contestes?|completes?|hagas|sigas|responda|complete|fa\S{1,2}a|siga)\b[^\n]{0,12} (?:la|el|lo|a|\xc3\xa0|o|al)? ?(?:pregunta|tarea|petici\S{1,3}n|solicitud|pergunta|tarefa|pedido|solicita\S{2,4}o) (?:del?|do|da) (?:usuario|usu\S{1,3}rio)",
        "medium",
    ),
    (
        "concealment",
        r"\bsin que (?:el|la|los) usuarios? (?:lo )?(?:sepan?|note|vea|se entere)|\bsem (?:que )?o usu\S{1,3}rio (?:saiba|saber|perceba|note|veja)|\b(?:a|\xc3\xa0)s? escondidas d[eo]l? usu"
        r"|\bn(?:o|\xc3\xa3o) (?:se lo )?(?:menciones?|digas|cuentes|mencione|diga|conte|revele) (?:esto|eso|isto|isso|nada|este|esta)\b[^\n]{0,30}(?:al|ao) (?:usuario|usu\S{1,3}rio)",
        "medium",
    ),
    (
        "tool-abuse",
        rf"(?P<lead>\b(?:antes de|ao|cuando|quando|al) (?:usar|utilizar|llamar|chamar|ejecutar|executar|invocar)[^\n]{{0,30}})(?:herramienta|ferramenta|funci\S{{1,3}}n|fun\S{{2,4}}o)[^\n]{{0,60}}?{_FILE}"
        rf"|\b(?:lee|lea|leia|abre|abra) (?:el archivo |o arquivo |o ficheiro )?{_FILE}[^\n]{{0,60}}?\b(?:y|e)\b[^\n]{{0,20}}(?:pasa|pase|passe|env\S{{1,3}}a|envie|incluye|inclua|manda)",
        "medium",
    ),
    (
        "authority-claim",
        r"\bcomo (?:tu |su |seu |o |el |la )?(?:administrador|desarrollador|creador|desenvolvedor|criador|propietario|dono)[^\n]{0,20},? (?:te |le |lhe |eu )?(?:orden|mand|exij|instruy|instru|autoriz)[oa]"
        r"|\b(?:pol\S{1,3}tica|directiva|diretriz|orden|ordem|mensaje|mensagem|instrucci\S{1,3}n)(?: \w+)? (?:de tu|do seu|de su|de openai|da openai) ?(?:desarrollador|creador|desenvolvedor|criador|operador|administrador)?[^\n]{0,6}:",
        "medium",
    ),
    (
        "answer-control",
        rf"(?P<lead>\b(?:atenci\S{{1,3}}n|aten\S{{2,4}}o|nota|mensaje|mensagem|instrucciones|instru\S{{2,4}}es)[^\n]{{0,12}} )(?:asistentes?|assistentes?|modelos?|agentes?)(?: de)? (?:{_IA}|lenguaje|linguagem)[^\n]{{0,20}}[:,]"
        rf"|\bsi eres (?:un|una) (?:{_IA}|modelo|asistente)|\bse voc\S{{1,3}} (?:\S{{1,2}} )?um(?:a)? (?:{_IA}|modelo|assistente)|\b(?:asistente|assistente) de {_IA}: ",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?P<lead>\b(?:repite|muestra|muestre|imprime|revela|escribe|dime|copia|mostre|mostra|repita|imprima|revele|escreva|diga)\b[^\n]{0,40} (?:tus?|sus?|seu|sua|teu|o|el) )(?:mensaje|mensagem|prompt|instrucciones|instru\S{2,4}es) (?:(?:de|del|do) sistema|iniciales|iniciais|ocultas|originales|originais)",
        "medium",
    ),
    (
        "exfiltration-request",
        rf"(?P<lead>\b(?:env\S{{1,3}}a|env\S{{1,3}}e|reenv\S{{1,3}}a|manda|mande|encaminhe|sube|publica)\b[^\n]{{0,20}})(?:historial|hist\S{{1,3}}rico|conversaci\S{{1,3}}n|conversa|contrase\S{{1,3}}a|senha|claves?)[^\n]{{0,40}}\b(?:a|para|al)\b ?{_WHERE}",
        "medium",
    ),
    # --- French
    (
        "ignore-previous",
        r"(?P<lead>\b(?:instructions|consignes|r\S{1,3}gles|directives|ordres)\b[^\n.]{0,60}?)(?:annul\S{1,3}es|caduques|sans effet|ne (?:sont|valent) plus|ne s.{1,3}appliquent plus|abrog\S{1,3}es|r\S{1,3}voqu\S{1,3}es)",
        "medium",
    ),
    (
        "concealment",
        r"\bsans (?:en )?(?:pr\S{1,3}venir|avertir|informer|le dire \S{1,2}|en parler \S{1,2}) (?:\S{1,3} )?l.{1,3}utilisat",
        "medium",
    ),
    (
        "ignore-previous",
        r"(?P<lead>\b(?:ignore[rz]?|oublie[rz]?|n[e'] ?(?:tiens|tenez|tenir) (?:pas|aucun) compte|n\S{1,3}glige[rz]?|fais abstraction|faites abstraction|passe[rz]? outre)"
        r"\s+(?:\S+\s+){0,4}?\S{0,2}(?:instructions|consignes|directives|r\S{1,3}gles|ordres|indications)"
        r"\s+(?:\S+\s+){0,3}?)(?:pr\S{1,3}c\S{1,3}dentes?|pr\S{1,3}c\S{1,3}dents|ant\S{1,3}rieures?|ci-dessus|initiales|ant\S{1,3}rieurs|re\xc3\xa7ues|du syst\S{1,3}me|donn\xc3\xa9es)"
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
    (
        "ignore-previous",
        r"\b(?:ignore[rz]?|oublie[rz]?|laisse[rz]? tomber) (?:tout )?(?:ce qui|le texte qui|le contenu qui) (?:pr\S{1,3}c\S{1,3}de|est au-dessus|est \S{1,3}crit)\b"
        r"|\boublie[rz]? (?:tout )?ce (?:qu.{1,3}on|que) [^\n]{0,20}(?:demand|dit|appris|ordonn)|\bn(?:e |')(?:r\S{1,3}ponds|r\S{1,3}pondez|fais|faites|traite[sz]?|suis|suivez) pas (?:\xc3\xa0 )?(?:la|le|aux?) (?:question|demande|t\S{1,3}che|requ\S{1,3}te|consignes?) de l.{1,3}utilisateur",
        "medium",
    ),
    (
        "concealment",
        r"\b(?:\xc3\xa0|a) l.{1,3}insu (?:de l.{1,3}utilisateur|des utilisateurs)|\xc3\xa0 l.{1,3}insu de l.{1,3}utilisateur|\bsans que l.{1,3}utilisateur (?:le )?(?:sache|voie|remarque|s.{1,3}en)",
        "medium",
    ),
    (
        "tool-abuse",
        rf"\bavant d.{{1,3}}(?:utiliser|appeler|ex\S{{1,3}}cuter)[^\n]{{0,20}}(?:outil|fonction)[^\n]{{0,60}}?{_FILE}|\b(?:lis|lisez|ouvre|ouvrez) (?:le fichier )?{_FILE}[^\n]{{0,60}}?\b(?:et|puis)\b[^\n]{{0,20}}(?:passe|envoie|envoyez|transmet|inclu|joins)",
        "medium",
    ),
    (
        "authority-claim",
        r"(?P<lead>\ben tant qu.{1,3})(?:administrateur|d\S{1,3}veloppeur|cr\S{1,3}ateur|propri\S{1,3}taire)[^\n]{0,20},? je (?:t.{1,3}|te |vous )(?:ordonne|demande|autorise|enjoins|commande)|\b(?:politique|directive|consigne|message|instruction) de (?:ton|votre) (?:d\S{1,3}veloppeur|cr\S{1,3}ateur|op\S{1,3}rateur)",
        "medium",
    ),
    (
        "answer-control",
        rf"(?P<lead>\b(?:l.{{1,3}}attention|attention|note|message|instructions?)[^\n]{{0,12}} (?:l.{{1,3}}|aux |des |les )?)(?:assistants?|mod\S{{1,3}}les?|agents?) (?:{_IA}|de langage)[^\n]{{0,12}} ?[:,]|\bsi (?:tu es|vous \S{{1,2}}tes) (?:un|une) (?:{_IA}|mod\S{{1,3}}le|assistant)",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?P<lead>(?:r\S{1,3}p\S{1,3}te|affiche|montre|imprime|r\S{1,3}v\S{1,3}le|\xc3\xa9cris|donne|recopie|copie)[rsz]{0,2}\b[^\n]{0,30} (?:ton|tes|votre|vos|le) )(?:message|prompt|instructions|consignes) (?:syst\S{1,3}me|initiale?s?|cach\S{1,3}es|d.{1,3}origine)",
        "medium",
    ),
    (
        "exfiltration-request",
        rf"(?P<lead>\b(?:envoie|envoyez|transmet\w*|transf\S{{1,3}}re|poste|publie)[rsz]{{0,2}}\b[^\n]{{0,20}})(?:historique|conversation|mots? de passe|cl\S{{1,3}}s?|identifiants|jetons?)[^\n]{{0,40}}(?:\xc3\xa0|vers|sur) ?{_WHERE}",
        "medium",
    ),
    # --- German
    (
        "ignore-previous",
        r"(?P<lead>\b(?:bisherige|vorherige|fr\S{1,3}here|obige|alte|deine|vorige|urspr\S{1,3}ngliche)\w* (?:\w+ )?(?:anweisung\w*|vorgaben?|regeln|instruktion\w*|befehle|richtlinien)\b[^\n.]{0,50}?)(?:ung\S{1,3}ltig|nichtig\b|au\S{1,3}er kraft|aufgehoben|(?:gelten|gilt)? ?(?:ab \w+ )?nicht (?:mehr|l\S{1,3}nger)|hinf\S{1,3}llig|widerrufen)"
        r"|\b(?:folge|befolge|gehorche|halte dich)(?: ab (?:jetzt|hier|sofort))? (?:nur|ausschlie\S{1,2}lich|an nichts als)(?: noch)? (?:diese[mnrs]?|de[nmr]) (?:text|dokument|anweisung\w*|seite|datei)",
        "medium",
    ),
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
        r"(?P<lead>\b(?:sende\w*|schick\w*|\xc3\xbcbermittl\w*|leite\w*|lade\w*)\b[^\n]{0,60}?)(?:passw\S{1,3}rte?r?|zugangsdaten|schl\S{1,3}ssel|geheimnisse|tokens?|umgebungsvariablen)[^\n]{0,60}?\b(?:an|nach|zu|auf)\b[^\n]{0,20}?(?:https?://|[\w.+-]{1,64}@)",
        "medium",
    ),
    (
        "ignore-previous",
        r"\b(?:ignorier\w*|vergiss|vergessen sie|missachte\w*|verwirf) (?:das|alles) (?:obige|vorige|vorherige|bisherige|oben\w*|vorangehende)\w*,? (?:\w+ )?(?:und|,)[^\n]{0,60}(?:stattdessen|antworte|gib|sage|schreib|f\S{1,3}hr)"
        r"|\bvergiss,? (?:alles,? )?(?:worum|wozu|was) (?:du|dir|man dich|man dir)\b[^\n]{0,20}(?:gebeten|gesagt|beauftragt|aufgetragen|befohlen) (?:wurde|worden|hat|habe)"
        r"|\b(?:beantworte\w*|erledige\w*|bearbeite\w*|befolge\w*|erf\S{1,3}ll\w*)(?: sie)? (?:die|den|das) (?:frage|aufgabe|bitte|anfrage|auftrag|anweisung)\w* de[sr] (?:be)?nutzer\w* nicht",
        "medium",
    ),
    (
        "concealment",
        r"\b(?:der|die) (?:be)?nutzer(?:in)? (?:darf|d\S{1,3}rfen|soll|sollen) (?:davon |das |dies |es |hiervon )?(?:nichts |nicht |nie )(?:davon )?(?:erfahren|wissen|merken|mitbekommen|sehen)|\bohne dass (?:der|die) (?:be)?nutzer (?:es |das |davon )?(?:merk|wei\S{1,2}|erf|mitbek)"
        r"|\b(?:erw\S{1,3}hn\w*|nenn\w*|sag\w*|verrat\w*) (?:das|dies|es|davon)[^\n]{0,20}(?:be)?nutzer[^\n]{0,12} nicht",
        "medium",
    ),
    (
        "tool-abuse",
        rf"\b(?:vor|bei) (?:der|jeder|dem) (?:benutzung|verwendung|nutzung|aufruf|gebrauch)[^\n]{{0,30}}(?:werkzeug|tool|funktion)[^\n]{{0,60}}?{_FILE}|\b(?:lies|lese|lesen sie|\xc3\xb6ffne)\b[^\n]{{0,60}}?{_FILE}[^\n]{{0,40}}?\bund\b[^\n]{{0,20}}(?:\xc3\xbcbergib|sende|schick|gib|f\S{{1,3}}ge|h\S{{1,3}}nge)",
        "medium",
    ),
    (
        "authority-claim",
        r"\bals (?:dein |ihr )?(?:system)?(?:administrator|entwickler|betreiber|sch\S{1,3}pfer|eigent\S{1,3}mer) (?:befehle|weise|ordne|erlaube|autorisiere|verlange|fordere) ich (?:dir|dich|ihnen|sie)?|\b(?:richtlinie|anweisung|nachricht|vorgabe|regel)n? (?:deines|von deinem|deiner) (?:entwickler|betreiber|sch\S{1,3}pfer|hersteller)",
        "medium",
    ),
    (
        "answer-control",
        rf"\b(?:achtung|hinweis|nachricht|anweisung)[^\n]{{0,8}} (?:an )?(?:alle |die |den |das )?{_IA}[- ]?(?:assistent|modell|agent|system)\w*[^\n]{{0,12}}[:,]|\b(?:an alle|an das) (?:sprachmodell|{_IA})\w*|\bwenn du (?:ein|eine) (?:{_IA}|sprachmodell|assistent)",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?P<lead>\b(?:gib|zeige?|wiederhole?|nenne?|drucke?|schreibe?|verrate?)\b[^\n]{0,20} (?:deine?n?|ihre?n?|den|die) )(?:system(?:nachricht|prompt|anweisung)\w*|(?:urspr\S{1,3}nglichen?|versteckten?|ersten?|initialen?|geheimen?) (?:anweisung|instruktion|nachricht|vorgabe)\w*)",
        "medium",
    ),
    (
        "exfiltration-request",
        rf"(?P<lead>\b(?:schick\w*|send\w*|\xc3\xbcbermittl\w*|leite\w*)\b[^\n]{{0,20}})(?:gespr\S{{1,3}}chsverlauf|chatverlauf|unterhaltung|verlauf|konversation|kennw\S{{1,3}}rt\w*|passw\S{{1,3}}rt\w*)[^\n]{{0,30}}\b(?:an|nach)\b ?{_WHERE}",
        "medium",
    ),
    # --- Italian
    (
        "ignore-previous",
        r"(?P<lead>\b(?:istruzioni|indicazioni|ordini|regole|direttive)\b[^\n.]{0,60}?)(?:annullat[ei]|revocat[ei]|non (?:sono|valgono) pi\S{1,2}|prive di effetto)|\b(?:segui|esegui|obbedisci) (?:solo|soltanto|solamente)(?: a)? quest",
        "medium",
    ),
    (
        "ignore-previous",
        r"(?P<lead>\b(?:ignora(?:re|te)?|dimentica(?:re|te)?|trascura)\s+(?:\S+\s+){0,4}?)(?:istruzioni|indicazioni|ordini|regole|direttive)\s+(?:\S+\s+){0,2}?(?:precedenti|sopra|iniziali|originali)"
        r"|\bdimentica(?:te)? tutto (?:ci\S{1,2}|quello) che",
        "high",
    ),
    (
        "ignore-previous",
        r"\b(?:ignora|dimentica|trascura)(?:te)? (?:tutto )?(?:quanto|ci\S{1,2} che|quello che|il testo) (?:sopra|precede|\S{1,3} scritto|ti \S{1,3} stato|ti hanno|vi \S{1,3} stato)|\bnon (?:rispondere|completare|eseguire|seguire)\b[^\n]{0,8}(?:alla|la|il|al|le) (?:domanda|richiesta|compito|istruzioni) dell.{1,3}utente",
        "medium",
    ),
    (
        "concealment",
        r"\bnon (?:dire|dirlo|menzionare|menzionarlo|rivelare|informare|mostrare|parlarne)\b[^\n]{0,24} (?:all.{1,3}|l.{1,3})utente|\ball.{1,3}insaputa dell.{1,3}utente|\bsenza che l.{1,3}utente (?:lo )?(?:sappia|veda|se ne accorga|noti)",
        "medium",
    ),
    (
        "tool-abuse",
        rf"\bprima di (?:usare|utilizzare|chiamare|eseguire)[^\n]{{0,20}}(?:strumento|funzione)[^\n]{{0,60}}?{_FILE}|\b(?:leggi|apri) (?:il file )?{_FILE}[^\n]{{0,60}}?\be\b[^\n]{{0,20}}(?:passa|invia|includi|manda|allega)",
        "medium",
    ),
    (
        "authority-claim",
        r"(?P<lead>\b(?:come|in qualit\S{1,3} di) (?:tuo )?)(?:amministratore|sviluppatore|creatore|proprietario)[^\n]{0,20},? (?:ti |vi )(?:ordino|autorizzo|comando|impongo|chiedo)|\b(?:politica|direttiva|messaggio|istruzione) (?:del|dal) tuo (?:sviluppatore|creatore|operatore)",
        "medium",
    ),
    ("role-change", r"\bd.{1,3}ora in (?:poi|avanti),? (?:sei|sarai|tu|rispond|devi|agisci|comport)|\b(?:ora|adesso) sei un[a']? ", "medium"),
    (
        "answer-control",
        rf"(?P<lead>\b(?:attenzione|nota|messaggio|istruzioni)[^\n]{{0,12}} (?:agli |gli |per gli |all.{{1,3}}|l.{{1,3}})?)(?:assistent[ei]|modell[oi]|agent[ei]) (?:di )?(?:{_IA}|linguaggio)[^\n]{{0,12}}[:,]|\bse sei un(?:a|')? ?(?:{_IA}|modello|assistente)",
        "medium",
    ),
    (
        "reveal-prompt",
        r"(?P<lead>\b(?:mostra|ripeti|stampa|rivela|scrivi|copia|dimmi)(?:mi)?\b[^\n]{0,20} (?:il tuo|le tue|il|la tua) )(?:prompt|messaggio|istruzioni|istruzione) (?:di sistema|del sistema|iniziali?|nascost[ei]|originali)",
        "medium",
    ),
    (
        "exfiltration-request",
        rf"\b(?:invia|manda|inoltra|spedisci|pubblica)(?:re|te)?\b[^\n]{{0,20}}(?:cronologia|conversazione|password|credenziali|chiavi|segreti)[^\n]{{0,40}}\b(?:a|ad|su|verso)\b ?{_WHERE}",
        "medium",
    ),
    # --- Dutch, Polish, Turkish, Indonesian
    (
        "ignore-previous",
        r"(?P<lead>\b(?:vorige|eerdere|bovenstaande|voorgaande) (?:\w+ )?(?:instructies?|opdrachten|regels|aanwijzingen)\b[^\n.]{0,40}?)(?:vervallen|ongeldig|ingetrokken|niet meer|geannuleerd)"
        r"|(?P<lead>\b(?:poprzedni|wcze\S{1,4}niejsz|powy\S{1,3}sz)\w* (?:\S+ )?(?:polece|instrukcj|zasad)\S*[^\n.]{0,40}?)(?:niewa\S{1,3}n|anulowan|trac\S{1,3} wa\S{1,3}no|odwo\S{1,3}an|nie obowi)"
        r"|(?P<lead>(?:nceki|yukar\S{1,3}daki) (?:\S+ )?(?:talimat|komut|kural|y\S{1,3}nerge)\S*[^\n.]{0,40}?)(?:ge\S{1,3}ersiz|iptal|h\S{1,3}k\S{1,3}ms\S{1,3}z)"
        r"|(?P<lead>\b(?:instruksi|perintah|petunjuk|arahan) (?:\S+ )?(?:sebelumnya|di atas|lama)\b[^\n.]{0,40}?)(?:tidak (?:lagi )?berlaku|dibatalkan|batal\b|dicabut)",
        "medium",
    ),
    (
        "concealment",
        r"\bkullan\S{1,3}c\S{1,3}ya (?:bunu |bundan |hi\S{1,3}bir \S+ |haber ){0,2}(?:s\S{1,3}yleme|bahsetme|bildirme|verme)|\bnie (?:m\S{1,3}w|informuj|wspominaj|ujawniaj)\w*[^\n.]{0,30}u\S{1,3}ytkownik"
        r"|\b(?:vertel|zeg|meld|vermeld) [^\n.]{0,30}gebruiker [^\n.]{0,15}\bniet\b|\bzonder (?:dat )?de gebruiker\b|\bjangan (?:beri ?tahu|katakan|sebutkan|ungkapkan|bilang)[^\n.]{0,30}pengguna",
        "medium",
    ),
    (
        "ignore-previous",
        r"\b(?:negeer|vergeet)\s+(?:\S+\s+){0,4}?(?:vorige|eerdere|bovenstaande|voorgaande)\s+(?:\S+\s+){0,2}?(?:instructies?|opdrachten|regels|aanwijzingen)|\bvergeet alles wat"
        r"|\b(?:zignoruj|ignoruj|zapomnij o|pomi\xc5\x84)\s+(?:\S+\s+){0,4}?(?:poprzedni\w*|wcze\S{1,4}niejsz\w*|powy\S{1,3}sz\w*)\s+(?:\S+\s+){0,2}?(?:instrukcj\S*|polece\S*|zasad\S*)"
        r"|\b\S{0,2}(?:nceki|nceden verilen|yukar\S{1,3}daki)\s+(?:\S+\s+){0,3}?(?:talimat\S*|komut\S*|kural\S*)\s+(?:\S+\s+){0,2}?(?:yok say|g\S{1,3}rmezden gel|unut|dikkate alma)"
        r"|\b(?:abaikan|lupakan)\s+(?:\S+\s+){0,3}?(?:instruksi|perintah|petunjuk|arahan)\s+(?:\S+\s+){0,2}?(?:sebelumnya|di atas)",
        "high",
    ),
)  # fmt: skip
