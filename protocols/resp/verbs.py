"""What each Redis command does, and to which keys.

Kinds and places of keys are those that ``COMMAND`` of Redis 7.0 gives.  A verb
that is not here (a module's, a newer server's) is ``resp.unparsed``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from protocols.contract import Effect, EffectKind, Fact, FactKind, Part

FACTS: Final[Mapping[str, FactKind]] = {"verb": FactKind.TEXT, "keys": FactKind.NAMES}
"""``verb``: in capitals, with the subcommand ("CONFIG GET"). ``keys``: the keys
or channels that are named; unknown where their place depends on options."""

Span: TypeAlias = "tuple[int, int, int]"
"""First key, last key (negative: from the end) and step; zeros for none."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NONE: Final[Span] = (0, 0, 0)
_ANY: Final[Span] = (-1, 0, 0)
"""Keys stand where options put them."""
_ONE: Final[Span] = (1, 1, 1)
_TWO: Final[Span] = (1, 2, 1)
_ALL: Final[Span] = (1, -1, 1)
_SUB: Final[Span] = (2, 2, 1)

_TABLE: Final[tuple[tuple[str, str, Span], ...]] = (
    ("read", "DBSIZE KEYS RANDOMKEY SCAN", _NONE),
    ("read", "EXISTS MGET PFCOUNT SDIFF SINTER SUNION TOUCH WATCH", _ALL),
    (
        "read",
        "BITCOUNT BITFIELD_RO BITPOS DUMP EXPIRETIME GEODIST GEOHASH GEOPOS GEORADIUS_RO"
        " GEORADIUSBYMEMBER_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HGET HGETALL HKEYS HLEN"
        " HMGET HRANDFIELD HSCAN HSTRLEN HVALS LINDEX LLEN LPOS LRANGE PEXPIRETIME PTTL SCARD"
        " SISMEMBER SMEMBERS SMISMEMBER SRANDMEMBER SSCAN STRLEN SUBSTR TTL TYPE XLEN XPENDING"
        " XRANGE XREVRANGE ZCARD ZCOUNT ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX"
        " ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE",
        _ONE,
    ),
    ("read", "LCS", _TWO),
    ("read", "SINTERCARD XREAD ZDIFF ZINTER ZINTERCARD ZUNION SORT_RO", _ANY),
    ("read", "OBJECT XINFO", _SUB),
    ("write", "BLPOP BRPOP BZPOPMAX BZPOPMIN", (1, -2, 1)),
    ("write", "PFMERGE SDIFFSTORE SINTERSTORE SUNIONSTORE", _ALL),
    ("write", "MSET MSETNX", (1, -1, 2)),
    (
        "write",
        "APPEND BITFIELD DECR DECRBY EXPIRE EXPIREAT GEOADD GETEX GETSET HDEL HINCRBY"
        " HINCRBYFLOAT HMSET HSET HSETNX INCR INCRBY INCRBYFLOAT LINSERT LPOP LPUSH LPUSHX LREM"
        " LSET LTRIM MOVE PERSIST PEXPIRE PEXPIREAT PFADD PSETEX RESTORE RPOP RPUSH RPUSHX SADD"
        " SET SETBIT SETEX SETNX SETRANGE SPOP SREM XACK XADD XAUTOCLAIM XCLAIM XDEL XSETID XTRIM"
        " ZADD ZINCRBY ZPOPMAX ZPOPMIN ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE",
        _ONE,
    ),
    (
        "write",
        "BLMOVE BRPOPLPUSH COPY GEOSEARCHSTORE LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE",
        _TWO,
    ),
    ("write", "BITOP", (2, -1, 1)),
    (
        "write",
        "BLMPOP BZMPOP GEORADIUS GEORADIUSBYMEMBER LMPOP SORT XREADGROUP ZDIFFSTORE"
        " ZINTERSTORE ZMPOP ZUNIONSTORE",
        _ANY,
    ),
    ("write", "XGROUP", _SUB),
    ("destroy", "DEL UNLINK", _ALL),
    ("destroy", "GETDEL", _ONE),
    ("destroy", "FLUSHALL FLUSHDB", _NONE),
    ("publish", "PUBLISH SPUBLISH", _ONE),
    ("subscribe", "SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE", _ALL),
    (
        "connection",
        "PING ECHO QUIT SELECT HELLO WAIT READONLY READWRITE ASKING MULTI EXEC DISCARD UNWATCH"
        " INFO TIME LASTSAVE ROLE LOLWUT COMMAND PUBSUB",
        _NONE,
    ),
    ("script", "EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO", _ANY),
    ("script", "SCRIPT FUNCTION", _NONE),
    (
        "admin",
        "ACL BGREWRITEAOF BGSAVE CLIENT CLUSTER CONFIG DEBUG FAILOVER LATENCY MEMORY MIGRATE"
        " MODULE REPLICAOF RESTORE-ASKING SAVE SHUTDOWN SLAVEOF SLOWLOG SWAPDB",
        _NONE,
    ),
)
_VERBS: Final = {verb: (action, span) for action, verbs, span in _TABLE for verb in verbs.split()}
_CONTAINERS: Final = _names(
    "ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB"
    " SCRIPT SLOWLOG XGROUP XINFO"
)
_OWN_CLIENT: Final = _names(
    "CACHING GETNAME GETREDIR ID INFO NO-TOUCH SETINFO SETNAME TRACKING TRACKINGINFO"
)
"""Subcommands of CLIENT that concern the connection itself only."""
_KINDS: Final[Mapping[str, EffectKind]] = {
    "read": EffectKind.READ,
    "write": EffectKind.WRITE,
    "destroy": EffectKind.DESTROY,
    "publish": EffectKind.WRITE,
    "subscribe": EffectKind.READ,
    "script": EffectKind.WRITE,
    "admin": EffectKind.CONTROL,
}
_NAME: Final = re.compile(rb"[A-Za-z][A-Za-z_-]{0,31}")
ACTIONS: Final = frozenset({f"resp.{row[0]}" for row in _TABLE} | {"resp.unparsed"})


def verb_of(words: Sequence[bytes]) -> str:
    """The verb in capitals, "" when it is none that this file could know."""
    return words[0].decode("ascii").upper() if _NAME.fullmatch(words[0]) else ""


def unparsed(why: str, verb: str = "") -> Part:
    return Part("resp.unparsed", (), {"verb": verb or None, "keys": None}, False, why)


def part(words: Sequence[bytes]) -> Part:
    """What the command ``words`` (at least one) does."""
    verb = verb_of(words)
    known = _VERBS.get(verb)
    if known is None:
        return unparsed("a command that the gateway doesn't know", verb)
    action, span = known
    full = verb
    if verb in _CONTAINERS and len(words) > 1:
        sub = verb_of(words[1:])
        if not sub:
            return unparsed("a subcommand that the gateway doesn't know", verb)
        full = f"{verb} {sub}"
        if verb == "CLIENT" and sub in _OWN_CLIENT:
            action = "connection"
    keys: tuple[str, ...] | None = ()
    why = ""
    if action == "script":
        keys, why = None, "a script does what it likes"
    elif span is _ANY:
        keys, why = None, "the keys stand where the options put them"
    elif span is not _NONE:
        try:
            keys = _keys(words, span)
        except UnicodeDecodeError:
            keys, why = None, "a key that is not UTF-8"
    facts: dict[str, Fact] = {"verb": full, "keys": keys}
    effects: tuple[Effect, ...] = ()
    if (kind := _KINDS.get(action)) is not None:
        of = "channel" if action in ("publish", "subscribe") else "key"
        if keys:
            effects = tuple(Effect(kind, key, of) for key in keys)
        else:
            effects = (Effect(kind, "", "server" if action == "admin" else of),)
    return Part(f"resp.{action}", effects, facts, not why, why)


def _keys(words: Sequence[bytes], span: Span) -> tuple[str, ...]:
    first, last, step = span
    stop = last + 1 if last > 0 else len(words) + last + 1
    return tuple(word.decode("utf-8") for word in words[first:stop:step])
