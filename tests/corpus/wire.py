"""Secrets in HTTP as tools log and export it, and in the dialogues and addresses of protocols.

`@P@` stands for a password of words and digits, `@A@` for one that begins and ends with
punctuation, `@T@` for a token, `@H@` for one of hexadecimal, `@BASIC@` for `bob:` and a password in
base64, `@Q@` for a password in which characters are percent-encoded.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Iterator
from typing import Final

from corpus.sample import Sample

A: Final = string.ascii_letters + string.digits
_pick = random.Random(90125)

FORMS: Final = (
    ("HAR, authorization", '{"headers":[{"name":"Host","value":"api.example.org"},{"name":"Authorization","value":"Bearer @T@"}]}'),
    ("HAR over lines", '"headers": [\n  {\n    "name": "authorization",\n    "value": "Bearer @T@"\n  }\n]'),
    ("HAR, basic", '{"name":"Authorization","value":"Basic @BASIC@"}'),
    ("HAR, key", '{"name": "X-Api-Key", "value": "@T@"}'),
    ("HAR, value first", '{"value": "@T@", "name": "X-Auth-Token"}'),
    ("HAR, cookie", '{"cookies":[{"name":"sessionid","value":"@T@","path":"/","httpOnly":true}]}'),
    ("HAR, posted", '"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"user","value":"bob"},{"name":"password","value":"@P@"}]}'),
    ("HAR, cookie header", '{"name":"Cookie","value":"theme=dark; sessionid=@T@"}'),
    ("Postman, key and value", '"header": [{"key": "Authorization", "value": "Bearer @T@", "type": "text"}]'),
    ("Postman, bearer", '"auth": {"type": "bearer", "bearer": [{"key": "token", "value": "@T@", "type": "string"}]}'),
    ("Postman, basic", '"basic": [{"key": "password", "value": "@P@", "type": "string"}, {"key": "username", "value": "bob"}]'),
    ("variables of CI", '[{"name": "DB_PASSWORD", "value": "@P@", "masked": true}]'),
    ("curl -H", "curl -s -H 'Authorization: Bearer @T@' https://api.example.org/v1/me\n"),
    ("curl -H, joined", 'curl -H"X-Auth-Token: @T@" https://api.example.org/\n'),
    ("curl --header=", "curl --header='Authorization: token @T@' https://api.example.org/\n"),
    ("curl -H, private", 'curl --header "PRIVATE-TOKEN: @T@" https://git.example.org/api/v4/projects\n'),
    ("git extraheader", 'git -c http.extraheader="AUTHORIZATION: bearer @T@" fetch\n'),
    ("git extraheader, basic", "\textraheader = AUTHORIZATION: basic @BASIC@\n"),
    ("wget --header", "wget --header='Authorization: Bearer @T@' https://example.org/x\n"),
    ("header alone", "header='Bearer @T@'\n"),
    ("bearer of a variable", "headers = {'Authorization': f'Bearer @T@'}\n"),
    ("httpie", "http GET example.org/api Authorization:'Bearer @T@'\n"),
    ("httpie, bearer", "http -A bearer -a @T@ example.org/api\n"),
    ("Apache log, header", '10.0.0.1 - - [27/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12 "Bearer @T@"\n'),
    ("proxy authorization", "Proxy-Authorization: Basic @BASIC@\n"),
    ("X-Vault-Token", "X-Vault-Token: @T@\n"),
    ("X-Amz-Security-Token", "X-Amz-Security-Token: @T@@T@@T@\n"),
    ("Ocp-Apim", "Ocp-Apim-Subscription-Key: @H@\n"),
    ("verbose curl", "> GET /v1 HTTP/1.1\n> Host: api.example.org\n> Authorization: Basic @BASIC@\n> Accept: */*\n"),
    ("HTTP/2 debug", "* [HTTP/2] [1] [authorization: Bearer @T@]\n"),
    ("nghttp", "send HEADERS frame\n          authorization: Bearer @T@\n"),
    ("tuples of headers", "[('Host', 'x'), ('Authorization', 'Bearer @T@')]\n"),
    ("arrays of headers", '[["host","x"],["authorization","Bearer @T@"]]\n'),
    ("raw headers of node", '"rawHeaders": ["Host", "x", "Authorization", "Bearer @T@"]\n'),
    ("Go dump", 'map[Accept:[*/*] Authorization:[Bearer @T@] User-Agent:[curl]]\n'),
    ("Ruby dump", '{"Authorization"=>"Bearer @T@", "Accept"=>"*/*"}\n'),
    ("WSGI", "HTTP_AUTHORIZATION=Bearer @T@\n"),
    ("PHP", "    [HTTP_AUTHORIZATION] => Bearer @T@\n"),
    ("WSGI, cookie", "HTTP_COOKIE=theme=dark; sessionid=@T@\n"),
    ("multipart", '--b0undary\r\nContent-Disposition: form-data; name="user"\r\n\r\nbob\r\n--b0undary\r\nContent-Disposition: form-data; name="password"\r\n\r\n@P@\r\n--b0undary--\r\n'),
    ("multipart, LF", '------WebKitFormBoundary7MA4YWxk\nContent-Disposition: form-data; name="api_key"\n\n@T@\n------WebKitFormBoundary7MA4YWxk--\n'),
    ("multipart, type", 'Content-Disposition: form-data; name="new_password"\r\nContent-Type: text/plain\r\n\r\n@P@\r\n'),
    ("multipart, client secret", 'Content-Disposition: form-data; name=client_secret\r\n\r\n@T@\r\n'),
    ("form", "grant_type=password&username=bob&password=@Q@&scope=read\n"),
    ("query", "GET /login?user=bob&passwd=@Q@ HTTP/1.1\n"),
    ("query, token", "https://api.example.org/v1?access_token=@T@&x=1\n"),
    ("query, key", "https://maps.example.org/api?key=@H@&x=1\n"),
    ("query, auth", "wss://stream.example.org/?auth=@T@\n"),
    ("fragment", "https://app.example.org/cb#access_token=@T@&token_type=bearer\n"),
    ("oauth code", "https://app.example.org/cb?code=@T@&state=xyz\n"),
    ("ws security", "<wsse:UsernameToken><wsse:Username>bob</wsse:Username><wsse:Password Type=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText\">@P@</wsse:Password></wsse:UsernameToken>"),
    ("ws security, plain", "<wsse:Password>@P@</wsse:Password>"),
    ("soap session", "<sessionId>@T@</sessionId>"),
    ("soap header", '<ns1:password xsi:type="xsd:string">@P@</ns1:password>'),
    ("xml-rpc", "<member><name>password</name><value><string>@P@</string></value></member>"),
    ("cookies.txt", "# Netscape HTTP Cookie File\n.example.org\tTRUE\t/\tTRUE\t1790000000\tsessionid\t@T@\n"),
    ("cookies.txt, HttpOnly", "# Netscape HTTP Cookie File\n#HttpOnly_.example.org\tTRUE\t/\tTRUE\t0\tconnect.sid\ts%3A@T@\n"),
    ("cookies.txt, other", "# Netscape HTTP Cookie File\nexample.org\tFALSE\t/\tTRUE\t0\tauth_token\t@H@\n"),
    ("cookies, JSON", '[{"domain": ".example.org", "name": "PHPSESSID", "value": "@T@", "secure": true}]'),
    ("cookies, EditThisCookie", '{"domain": ".example.org", "expirationDate": 1790000000, "hostOnly": false, "name": "li_at", "value": "@T@"}'),
    ("cookies, mapping", '{"cookies": {"sessionid": "@T@", "theme": "dark"}}'),
    ("cookies, requests", "requests.get(url, cookies={'sessionid': '@T@'})\n"),
    ("Set-Cookie", "Set-Cookie: JSESSIONID=@H@; Path=/; HttpOnly\n"),
    ("Set-Cookie, host", "set-cookie: __Host-session=@T@; path=/; secure\n"),
    ("Set-Cookie, laravel", "set-cookie: laravel_session=@T@; path=/\n"),
    ("Set-Cookie, next", "set-cookie: __Secure-next-auth.session-token=@T@; path=/\n"),
    ("Set-Cookie, jwt", "set-cookie: id_token=@T@; path=/\n"),
    ("Set-Cookie, refresh", "set-cookie: refresh_token=@T@; path=/\n"),
    ("Set-Cookie, ASP", "set-cookie: .AspNetCore.Identity.Application=@T@; path=/\n"),
    ("Set-Cookie, ASP old", "set-cookie: .ASPXAUTH=@H@; path=/\n"),
    ("Set-Cookie, WordPress", "set-cookie: wordpress_logged_in_5f=@T@; path=/\n"),
    ("requests, tuple", "requests.get(url, auth=('bob', '@P@'))\n"),
    ("requests, tuple with awkward", "requests.get(url, auth=('bob', '@A@'))\n"),
    ("requests, double", 'session.auth = ("bob@example.org", "@P@")\n'),
    ("requests, class", "auth=HTTPBasicAuth('bob', '@P@')\n"),
    ("requests, digest", "auth=HTTPDigestAuth('bob', '@P@')\n"),
    ("aiohttp", "aiohttp.BasicAuth('bob', '@P@')\n"),
    ("axios", "auth: { username: 'bob', password: '@P@' }\n"),
    ("Go SetBasicAuth", 'req.SetBasicAuth("bob", "@P@")\n'),
    ("Ruby basic_auth", "request.basic_auth 'bob', '@P@'\n"),
    ("Ruby basic_auth()", 'req.basic_auth("bob", "@P@")\n'),
    ("PHP userpwd", 'curl_setopt($ch, CURLOPT_USERPWD, "bob:@P@");\n'),
    ("Java", 'new UsernamePasswordCredentials("bob", "@P@")\n'),
    ("Java, char", 'new PasswordAuthentication("bob", "@P@".toCharArray())\n'),
    ("C#", 'new NetworkCredential("bob", "@P@")\n'),
    ("smtplib", "server.login('bob@example.org', '@P@')\n"),
    ("DriverManager", 'DriverManager.getConnection("jdbc:postgresql://db/app", "app", "@P@")\n'),
    ("mysqli", 'new mysqli("localhost", "app", "@P@", "shop");\n'),
    ("PDO", "new PDO('mysql:host=db;dbname=app', 'app', '@P@');\n"),
    ("pymysql", "pymysql.connect(host='db', user='app', passwd='@P@')\n"),
    ("paramiko", "client.connect('host', username='bob', password='@P@')\n"),
    ("create_user", "User.objects.create_user('bob', 'bob@example.org', '@P@')\n"),
    ("curl -u", "curl -u bob:@P@ https://example.org/\n"),
    ("curl -u, quoted", "curl -u 'bob:@A@' https://example.org/\n"),
    ("curl -u, key", "curl https://api.example.org/v1/charges -u @T@:\n"),
    ("curl -d", "curl -d 'username=bob&password=@Q@' https://example.org/login\n"),
    ("curl -d, JSON", "curl -d '{\"username\":\"bob\",\"password\":\"@P@\"}' https://example.org/login\n"),
    ("curl -F", "curl -F user=bob -F password=@P@ https://example.org/login\n"),
    ("curl --oauth2", "curl --oauth2-bearer @T@ https://example.org/\n"),
    ("curl -b", "curl -b 'sessionid=@T@' https://example.org/\n"),
    ("curl --cookie", "curl --cookie \"PHPSESSID=@T@\" https://example.org/\n"),
    ("curl --proxy", "curl -x http://bob:@Q@@proxy:3128 https://example.org/\n"),
    ("wget --password", "wget --user=bob --password=@P@ https://example.org/x\n"),
    ("wget --http-password", "wget --http-user=bob --http-password='@A@' https://example.org/x\n"),
    ("wget --ftp-password", "wget --ftp-password @P@ ftp://example.org/x\n"),
    ("token at a host", "git clone https://@T@@git.example.org/team/app.git\n"),
    ("token at a host, hex", "git clone https://@H@@git.example.org/team/app.git\n"),
    ("x-oauth-basic", "https://@H@:x-oauth-basic@git.example.org/team/app.git\n"),
    ("user and token", "https://x-access-token:@T@@git.example.org/team/app\n"),
    ("SMTP AUTH PLAIN", "C: AUTH PLAIN @SASL@\nS: 235 2.7.0 Authentication successful\n"),
    ("SMTP AUTH LOGIN", "S: 334 VXNlcm5hbWU6\nC: Ym9i\nS: 334 UGFzc3dvcmQ6\nC: @B64@\nS: 235 ok\n"),
    ("SMTP AUTH LOGIN, one line", "AUTH LOGIN Ym9i\r\n334 UGFzc3dvcmQ6\r\n@B64@\r\n235 2.0.0 OK\r\n"),
    ("SMTP XOAUTH2", "AUTH XOAUTH2 @XOAUTH@\n"),
    ("smtplib debug", "send: 'AUTH PLAIN @SASL@\\r\\n'\nreply: b'235 ok\\r\\n'\n"),
    ("IMAP LOGIN", "a001 LOGIN bob @P@\na001 OK LOGIN completed\n"),
    ("IMAP LOGIN, quoted", '. login "bob@example.org" "@A@"\n'),
    ("IMAP literal", "A1 LOGIN {3}\n+ OK\nbob {12}\n+ OK\n@P@\nA1 OK\n"),
    ("IMAP AUTHENTICATE", "a1 AUTHENTICATE PLAIN @SASL@\n"),
    ("POP PASS", "+OK POP3 ready\nUSER bob\n+OK\nPASS @P@\n+OK Logged in.\n"),
    ("POP PASS, frames", "C: USER bob\nS: +OK\nC: PASS @P@\nS: +OK\n"),
    ("FTP PASS", "220 ready\nUSER bob\n331 Please specify the password.\nPASS @P@\n230 Login successful.\n"),
    ("FTP PASS, tcpdump", "10:00:00.1 IP a.51234 > b.21: Flags [P.], length 15: FTP: USER bob\n10:00:00.2 IP a.51234 > b.21: Flags [P.], length 15: FTP: PASS @P@\n"),
    ("FTP PASS, tshark", "  5 0.1 10.0.0.1 → 10.0.0.2 FTP 80 Request: PASS @P@\n"),
    ("Redis AUTH", "127.0.0.1:6379> AUTH @P@\nOK\n"),
    ("Redis AUTH, user", "127.0.0.1:6379> auth default @P@\nOK\n"),
    ("Redis HELLO", "127.0.0.1:6379> HELLO 3 AUTH default @P@\n"),
    ("Redis monitor", '1700000000.123456 [0 127.0.0.1:51234] "auth" "@P@"\n'),
    ("Redis wire", "*2\r\n$4\r\nAUTH\r\n$14\r\n@P@\r\n"),
    ("Redis ACL", "user app on >@P@ ~* +@all\n"),
    ("Redis SETUSER", "ACL SETUSER app on >@P@ ~* +@all\n"),
    ("Redis config", "127.0.0.1:6379> CONFIG SET requirepass @P@\nOK\n"),
    ("LDAP", "ldapsearch -x -H ldap://dc -D cn=admin,dc=x -w @P@ -b dc=x\n"),
    ("LDAP conf", "bindpw @P@\n"),
    ("LDAP conf, credentials", 'syncrepl rid=001 provider=ldap://a binddn="cn=a" bindmethod=simple credentials=@P@\n'),
    ("LDAP rootpw", "rootpw @P@\n"),
    ("LDAP Tshark", "LDAPMessage bindRequest(1) \"cn=admin,dc=x\" simple\n    authentication: simple (0)\n        simple: @P@\n"),
    ("LDIF", "dn: uid=bob,dc=x\nuserPassword: @P@\n"),
    ("LDIF, base64", "dn: uid=bob,dc=x\nuserPassword:: @B64@\n"),
    ("LDIF, SSHA", "userPassword: {SSHA}@SSHA@\n"),
    ("ldap3", "Connection(server, 'cn=admin,dc=x', '@P@', auto_bind=True)\n"),
    ("simple_bind_s", "l.simple_bind_s('cn=admin,dc=x', '@P@')\n"),
    ("SNMP", "snmpwalk -v2c -c @P@ 10.0.0.1\n"),
    ("SNMP conf", "rocommunity @P@ 10.0.0.0/8\n"),
    ("SNMP, JSON", '{"snmp": {"version": "2c", "community": "@P@"}}'),
    ("SNMP, YAML", "snmp:\n  community: @P@\n"),
    ("MQTT", "mosquitto_pub -h mq -u bob -P @P@ -t x -m y\n"),
    ("MQTT, paho", "client.username_pw_set('bob', '@P@')\n"),
    ("MQTT, dump", "MQTT Connect Command\n    User Name: bob\n    Password: @P@\n"),
    ("Telnet", "login: bob\nPassword: @P@\nLast login: Fri\n"),
    ("SIP", 'secret=@P@\nusername=100\ntype=friend\n'),
    ("RADIUS", "client 10.0.0.1 {\n    secret = @P@\n    shortname = x\n}\n"),
    ("radtest", "radtest bob @P@ 127.0.0.1 0 testing123\n"),
    ("TACACS", "tacacs-server key 7 @H@\n"),
    ("IRC", "PASS @P@\r\nNICK bob\r\nUSER bob 0 * :bob\r\n"),
    ("IRC, oauth", "PASS oauth:@T@\r\nNICK bob\r\n"),
    ("jdbc, query", "jdbc:postgresql://db:5432/app?user=app&password=@Q@&ssl=true\n"),
    ("jdbc, semicolons", "jdbc:sqlserver://db:1433;databaseName=app;user=sa;password=@P@;encrypt=true\n"),
    ("jdbc, braces", "jdbc:sqlserver://db:1433;user=sa;password={@A@};\n"),
    ("jdbc, mysql", "jdbc:mysql://app:@Q@@db:3306/app\n"),
    ("jdbc, oracle", "jdbc:oracle:thin:app/@P@@//db:1521/ORCL\n"),
    ("odbc", "Driver={ODBC Driver 18 for SQL Server};Server=db;Uid=sa;Pwd={@A@};Encrypt=yes;\n"),
    ("odbc, plain", "DSN=app;UID=sa;PWD=@P@\n"),
    ("ado", "Data Source=db;Initial Catalog=app;User ID=sa;Password='@A@';Pooling=true\n"),
    ("libpq", "host=db user=app password=@P@ dbname=app\n"),
    ("libpq, quoted", "host=db user=app password='@A@' dbname=app\n"),
    ("postgres", "postgresql://app:@Q@@db:5432/app\n"),
    ("postgres, awkward", "postgres://app:@A@@db:5432/app\n"),
    ("postgres, slash", "postgres://app:ab/@P@@db:5432/app\n"),
    ("mysql+pymysql", "mysql+pymysql://app:@A@@db/app?charset=utf8\n"),
    ("amqp", "amqp://app:@A@@mq:5672/%2f\n"),
    ("amqps", "amqps://app:@Q@@mq.example.org/vhost\n"),
    ("mongodb", "mongodb://app:@Q@@m1:27017,m2:27017/app?replicaSet=rs0\n"),
    ("mongodb+srv", "mongodb+srv://app:@A@@cluster0.abc.mongodb.net/app\n"),
    ("redis", "redis://:@P@@cache:6379/0\n"),
    ("rediss", "rediss://default:@A@@cache.example.org:6380\n"),
    ("nats", "nats://@T@@nats:4222\n"),
    ("clickhouse", "clickhouse://app:@P@@ch:9000/app\n"),
    ("clickhouse, query", "http://ch:8123/?user=app&password=@Q@\n"),
    ("smtp", "smtps://bob%40example.org:@Q@@smtp.example.org:465\n"),
    ("mssql", "mssql://sa:@A@@db:1433/app\n"),
    ("neo4j", 'GraphDatabase.driver("neo4j://db", auth=("neo4j", "@P@"))\n'),
    ("cassandra", "PlainTextAuthProvider(username='c', password='@P@')\n"),
    ("kafka jaas", 'sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="app" password="@P@";\n'),
    ("elastic", 'Elasticsearch("https://es:9200", basic_auth=("elastic", "@P@"))\n'),
    ("elastic, key", 'Authorization: ApiKey @T@==\n'),
    ("ftp", "ftp://bob:@Q@@files.example.org/x\n"),
    ("smb", "smb://WORK;bob:@P@@srv/share\n"),
    ("rtsp", "rtsp://admin:@P@@10.0.0.9:554/stream1\n"),
    ("socks", "socks5://bob:@Q@@proxy:1080\n"),
    ("celery", "broker_url = 'amqp://app:@P@@mq//'\n"),
    ("ssh url", "sshfs bob:@P@@host:/srv /mnt\n"),
    ("otpauth", "otpauth://totp/App:bob?secret=@B32@&issuer=App\n"),
    ("ss", "ss://aes-256-gcm:@P@@10.0.0.1:8388\n"),
    ("trojan", "trojan://@P@@example.org:443?sni=x\n"),
    ("vless", "vless://@UUID@@example.org:443?type=ws\n"),
)  # fmt: skip

BENIGN: Final = (
    ("HAR without secrets", '{"headers":[{"name":"Host","value":"api.example.org"},{"name":"User-Agent","value":"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0"},{"name":"ETag","value":"W/\\"33a64df551425fcc55e4d42a148795d9f25f89d4\\""},{"name":"X-Request-Id","value":"f058ebd6-02f7-4d3f-942e-904344e8cde5"}]}'),
    ("parameters of an interface", '{"parameters":[{"name":"password","in":"query","description":"The password","type":"string"},{"name":"api_key","in":"header","value":"string"}]}'),
    ("fields of a schema", '[{"name": "password", "type": "varchar(255)"}, {"name": "token", "value": "text"}]'),
    ("names in Kubernetes", 'env:\n- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: db-credentials\n      key: password\n- name: TOKEN_TTL\n  value: "3600"\n'),
    ("cookies of settings", "Set-Cookie: theme=dark; Path=/\nSet-Cookie: locale=en-GB; Max-Age=31536000\nSet-Cookie: _ga=GA1.2.1234567890.1700000000\n"),
    ("cleared cookies", "Set-Cookie: sessionid=; expires=Thu, 01 Jan 1970 00:00:00 GMT\nSet-Cookie: token=deleted; Max-Age=0\n"),
    ("cookies.txt of settings", "# Netscape HTTP Cookie File\n.example.org\tTRUE\t/\tFALSE\t1790000000\ttheme\tdark\n.example.org\tTRUE\t/\tFALSE\t1790000000\tlang\ten-GB\n"),
    ("authentication by variables", "requests.get(url, auth=(user, password))\nauth=('user', 'pass')\nauth = (username, get_password())\nreq.SetBasicAuth(user, pass)\nHTTPBasicAuth('user', 'password')\nserver.login(user, password)\n"),
    ("bearer in words", "Use the Bearer authentication scheme; a bearer token must be sent as `Authorization: Bearer <token>`.\nThe bearer of this letter is Mr. Smith.\nWWW-Authenticate: Bearer realm=\"example\", error=\"invalid_token\"\n"),
    ("multipart fields", 'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhello world 42\r\nContent-Disposition: form-data; name="comment"\r\n\r\nAll is well\r\n'),
    ("addresses with users", "git clone ssh://git@git.example.org/team/app.git\nhttps://bob@git.example.org/team/app.git\nsftp://backup@host/x\nmailto:bob@example.org\nhttps://registry.example.org/@babel/core/-/core-7.24.0.tgz\nhttps://medium.com/@someone/a-long-title-of-a-post-1a2b3c4d5e6f\n"),
    ("addresses with at", "https://cdn.jsdelivr.net/npm/bootstrap@5.3.3/dist/css/bootstrap.min.css\nhttps://unpkg.com/react@18.2.0/umd/react.production.min.js\nhttps://deno.land/std@0.224.0/http/server.ts\nhttps://maps.example.org/@51.5074,-0.1278,15z\n"),
    ("tests of PASS", "PASS src/app.test.js\nPASS tests/login_test.go (12.3s)\n--- PASS: TestLogin (0.00s)\nTEST 12 PASS all_good\n"),
    ("replies of mail servers", "250-AUTH PLAIN LOGIN CRAM-MD5\n250 AUTH LOGIN PLAIN XOAUTH2\n334 VXNlcm5hbWU6\na001 OK LOGIN completed\n* CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED\n"),
    ("Redis in words", "AUTH failed: WRONGPASS invalid username-password pair\nredis requires AUTH before commands\nuser default on nopass ~* +@all\n"),
    ("SNMP in words", "The community is active: community members meet on Fridays.\n\"community\": \"Python\"\ncommunity: open-source\n"),
    ("documented URIs", "postgresql://user:password@localhost:5432/db\nmysql://USER:PASSWORD@HOST/DB\nredis://:${REDIS_PASSWORD}@cache:6379\nmongodb://<user>:<password>@host/db\nhttp://user:pass@host\n"),
    ("times and hosts", "http://host:8080/path@v1\nssh://host:22/~user@x\nimage: registry:5000/app@sha256:" + "ab12cd34" * 8 + "\n"),
    ("pages and cursors", "https://api.example.org/items?page=2&cursor=eyJpZCI6MTIzNDU2fQ&sort=key\nhttps://example.org/?utm_source=a&gclid=Cj0KCQiAgqGrBhDtARIsAM5s0\nhttps://example.org/search?key=name&q=password+reset\n"),
)  # fmt: skip


def _some(letters: str, count: int) -> str:
    return "".join(_pick.choice(letters) for _ in range(count))


def _password() -> str:
    words = ("Lantern", "river", "Copper", "Velvet", "orbit", "Maple", "Thunder", "harbour")
    return (
        f"{_pick.choice(words)}{_pick.randrange(10, 99)}{_pick.choice(words)}{_pick.choice('!.+=')}"
    )


def _values() -> dict[str, str]:
    password = _password()
    awkward = f"{_pick.choice('#$%&!')}{_some(A, 6)}{_pick.choice('^&*:?')}{_some(A, 5)}!"

    def base(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    return {
        "@P@": password,
        "@A@": awkward,
        "@T@": _some(A, 20) + "-" + _some(A + "_", 18),
        "@H@": _some("0123456789abcdef", 40),
        "@Q@": _some(A, 6) + "%21" + _some(A, 4) + "%40" + _some(A, 3),
        "@BASIC@": base(f"bob:{password}"),
        "@SASL@": base(f"\0bob\0{password}"),
        "@XOAUTH@": base(f"user=bob@example.org\x01auth=Bearer {_some(A, 40)}\x01\x01"),
        "@B64@": base(password),
        "@SSHA@": base(_some(A, 28)),
        "@B32@": _some("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32),
        "@UUID@": "-".join(_some("0123456789abcdef", n) for n in (8, 4, 4, 4, 12)),
    }


def filled(form: str, values: dict[str, str]) -> tuple[str, str]:
    """A form with its marks replaced, and what must be gone from it."""
    needle = next(value for mark, value in values.items() if mark in form)
    for mark, value in values.items():
        form = form.replace(mark, value)
    return form, needle


def samples() -> Iterator[Sample]:
    for name, form in FORMS:
        for number in range(3):
            text, needle = filled(form, _values())
            yield Sample("secrets on the wire", f"{name} {number}", "secret", text.encode(), needle)
    for name, text in BENIGN:
        yield Sample("traffic without secrets", name, None, text.encode())
