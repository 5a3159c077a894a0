"""No secret of a file that lint judges is printed, however the line with it is wrong."""

import pytest

from kubeha.grammar.secrets import masked, masked_words
from kubeha.lint import as_json
from kubeha.lint.sources import Grammar, Source
from kubeha.lint.whole import Programs, judge

SECRET = "Hunter2xyz"

HAPROXY = f"""defaults
    mode tcp
userlist people
    user admin insecure-password {SECRET} "unclosed
frontend f
    bind :8443
    default_backend b
backend b
    option httpchk GET /readyz HTTP/1.0\\r\\nAuthorization:\\ Bearer\\ {SECRET}
    reqadd Authorization:\\ Basic\\ {SECRET}
    http-check send meth GET uri /readyz hdr Authorization "Bearer {SECRET}"
    server m1 198.51.100.11:6443 check
    stats auth "ad min":{SECRET} "unclosed
    "stats" auth admin:{SECRET} "unclosed
    no stats auth admin:{SECRET}
    no setenv API_TOKEN {SECRET}
"""

KEEPALIVED = f"""$AUTH_PASS={SECRET}#more
vrrp_instance one {{
  interface eth0
  virtual_router_id 51
  authentication {{
    auth_type PASS
    auth_pas {SECRET}
    auth_passwd {SECRET}
    password {SECRET}
    auth_pass "{SECRET}
  }}
  authentication {{ auth_type PASS auth_pass {SECRET} }}
  authentication {{ auth_type PASS auth_pass {SECRET}#more }}
  authentication auth_type PASS auth_pass {SECRET}
  virtual_ipaddress {{
    auth_pass {SECRET}
  }}
}}
auth_pass {SECRET} {{
"""


@pytest.mark.parametrize("version", [None, (2, 0), (2, 8)])
@pytest.mark.parametrize(
    "text, grammar", [(HAPROXY, Grammar.HAPROXY), (KEEPALIVED, Grammar.KEEPALIVED)]
)
def test_a_finding_shows_no_secret(
    text: str, grammar: Grammar, version: tuple[int, ...] | None
) -> None:
    found = [as_json(each) for each in judge([Source("file", text, grammar)], Programs(version))]
    lines = {number for number, line in enumerate(text.split("\n"), 1) if SECRET in line}
    # Most of the lines with one are told of, else this would show nothing.
    assert len(lines & {each["line"] for each in found}) >= 6
    assert not [each for each in found if SECRET in str(each)]


@pytest.mark.parametrize(
    "line, shown",
    [
        ("stats auth admin:a b", "stats auth admin:********"),
        ("auth_pass\tabc", "auth_pass\t********"),
        ("auth_type PASS", "auth_type PASS"),
        ("setenv PATH /bin", "setenv PATH /bin"),
        ("server m1 198.51.100.11:6443 check", "server m1 198.51.100.11:6443 check"),
    ],
)
def test_a_line_is_shown_without_its_secret_only(line: str, shown: str) -> None:
    assert masked(line) == shown


def test_a_sentence_goes_on_after_the_secret() -> None:
    text = 'auth_pass "two words" needs a block in braces'
    assert masked_words(text) == "auth_pass ******** needs a block in braces"
