"""What stands in configuration files and is not for everybody's eyes: taken out before it is shown.

A finding goes to terminals, CI logs and tickets. Rather too much is covered than too little: also
misspelt keywords, for a line with one is just what lint shows.
"""

import re

COVER = "********"
_BEFORE = r"""
    \b stats \b .{1,4}? \b auth \b [^:\n]* :          # stats auth USER:PASSWORD
  | \b (?:insecure-)? password ["']? \s+              # user NAME password HASH
  | \b auth_? (?:p|hmac) \w* ["']? [\s=]*             # auth_pass, auth_passwd, ...
  | \b (?:proxy-)? authorization ["']? (?:[:=,\s]|\\\s)+  # headers, with escaped blanks
  | \b bearer (?:\s|\\\s)+
  | \$ \w* (?:PASS|SECRET|TOKEN) \w* \s* = \s*      # $AUTH_PASS=...
  | \b (?:pre)?setenv \s+ \S* (?:PASS|SECRET|TOKEN) \S* \s+
"""
_FLAGS = re.VERBOSE | re.DOTALL | re.IGNORECASE
_LINE = re.compile(rf"({_BEFORE})\S.*", _FLAGS)
_WORD = re.compile(rf"""({_BEFORE})(?: "[^"]*"? | '[^']*'? | (?:\\.|[^\s{{}}'"])+ )""", _FLAGS)


def masked(line: str) -> str:
    """A line of a file as it may be shown: nothing of what follows such a keyword."""
    return _LINE.sub(rf"\1{COVER}", line)


def masked_words(text: str) -> str:
    """A sentence with words of a file in it: what follows such a keyword, without the rest."""
    return _WORD.sub(rf"\1{COVER}", text)
