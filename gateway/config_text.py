"""What ``gateway init`` writes. Both texts load and check clean as they are;
lines that begin with ``#`` and no space are settings to switch on."""

from __future__ import annotations

from typing import Final

GATEWAY: Final = """\
# Wirewarden's configuration. `gateway check` tells what is wrong with it.
# Durations are written "30s", "5m", "12h"; sizes "64KiB", "1MiB", "1GiB".
# Paths are relative to the directory of this file.

version = 1
state = "state"              # journals, logs, tickets, approvals
policy = "policy.toml"       # the rules
workers = 1                  # processes that share the listeners
#store = "postgresql://wirewarden@db.internal/audit"   # several gateways: one index, one list of
#                            # approvals, one of legal holds; its password in libpq's passfile
#recordings = "s3://audit/logs"   # where `recorder upload` copies finished Logs

[recording]
durability = "os"            # "os": survives a killed gateway; "disk": a power cut too
originals = "withhold"       # of masked values: "withhold", or "seal" to the auditors' keys
credentials = "withhold"     # that upstreams are shown: not kept, or "seal" (cat is exact then)
#auditors = ["auditor.pub"]
low_water = "1GiB"           # less free space: no new sessions
critical = "256MiB"          # less still: open sessions end
part_size = "8MiB"           # a long session is cut, and vouched for, part by part:
part_time = "10m"            # after so much of records, or so long

[evidence]                   # the ledger that vouches for recordings (recorder verify)
enabled = true
required = false             # true: serve nobody while it can't be written
heartbeat = "60s"            # an idle ledger says that it lives
epoch = "1h"                 # how long a key signs before it is erased
#witness = "https://witness.example.com"    # cosigns checkpoints (C2SP tlog-witness)
#witness_key = "witness.example.com/w1+7e6f4aaa+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
#tsa = "https://tsa.example.com"            # time-stamps them (RFC 3161)
#tsa_ca = "tsa-ca.pem"
anchor = "60s"               # how often they are asked at most

#[retention]                 # see `recorder prune`, `recorder upload --free`
#keep = "90d"                # at least so long
#delete_after = "400d"       # at most so long
#keep_local = "14d"          # so long here, too, once the object store has it

[limits]
connections = 1000           # in each worker
per_address = 200
greeting = "20s"             # time for TLS and proof
idle = "0"                   # "0": a quiet session may stay
message = "1MiB"             # the largest client message
held = "4MiB"                # bytes that may wait behind a question
approvals_per_principal = 20 # commands that one principal may have waiting
dial = "10s"                 # time to reach an upstream
failed_proofs = 20           # a minute from one address, then it is turned away
spool = "8GiB"               # pushes that wait on disk, in each worker

# Where clients connect. Off loopback tls is "require" and needs a certificate.
[[listener]]
address = "127.0.0.1:6432"
protocol = "postgres"
#target = "prod-db"          # else the client's database says: prod-db, or prod-db/app
#tls = "require"             # "require", "allow" or "off"
#certificate = "gateway.crt" # PEM, the whole chain
#key = "gateway.key"

# git over SSH. The user name that clients log in as says which target they mean.
#[[listener]]
#address = "0.0.0.0:2222"
#protocol = "git-ssh"
#target = "app-repo"         # then the user name does not matter
#host_key = "ssh_host_key"   # OpenSSH's form; else one is made in the state directory

# Who may connect: bearers of tokens of these issuers, in the password field.
# An issuer speaks for everyone that it gives tokens to: say with `required`
# which of them you mean, by claims that can't be renamed.
#[issuer.github]
#iss = "https://token.actions.githubusercontent.com"
#audience = "wirewarden"     # must be the token's only audience
#algorithms = ["RS256"]      # of RS256, ES256, EdDSA
#jwks = "https://token.actions.githubusercontent.com/.well-known/jwks"  # or a file
#kind = "ci"                 # "ci", "agent" or "person": rules can tell them apart
#required = { repository_owner_id = "1234567", event_name = ["push", "workflow_dispatch"] }
#max_age = "1h"              # since the token was issued
#leeway = "30s"              # for clocks that differ
#bind = "address"            # a token works from the first address that used it; or "none"
#[issuer.github.claims]
#subject = "sub"
#run = "run_id"              # joins the sessions of one run
#tags = { repository = "repository", environment = "environment" }

# People and programs with a password of this gateway: a SCRAM-SHA-256 verifier
# (as in PostgreSQL's pg_authid), or a reference to one or to the password.
[principal.alice]
password = "ref+env://ALICE_PASSWORD"
groups = ["dba"]
kind = "person"              # "person", "ci" or "agent"
#tags = { team = "data" }
#ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Xm5ggyzC3dmWNCnNDqgTc9NbD6oeDSzvQmMCHjF2v"]
#                            # for git; `gateway ssh-cert` certifies keys for tokens

# What can be reached. Clients never see the user or the password.
[target.prod-db]
protocol = "postgres"
upstream = "127.0.0.1:5432"
user = "app"
password = "ref+env://PROD_DB_PASSWORD"   # or "ref+file://secrets.toml#prod/password"
database = "app"             # where a client goes that names none
#databases = ["app", "report_*"]
#tls = "verify-full"         # libpq's words; off loopback this is the default,
#                            # on loopback "disable" is
#ca = "upstream-ca.crt"      # else the system's authorities
#auth = ["scram-sha-256-plus", "scram-sha-256"]  # also "md5", "cleartext", "none"
#durability = "disk"
#groups = ["dba"]            # who may come in at all; else everyone who is proven
#allow_addresses = ["169.254.10.0/24"]  # link-local ones are refused else

# A git server. The gateway holds the only key to it, and judges every ref of every push.
#[target.app-repo]
#protocol = "git-ssh"
#upstream = "ssh://git@github.com"      # or "ssh://git@host:22/srv/git"
#host_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"]
#                            # or "@cert-authority ssh-ed25519 ..."; nobody else is trusted
#known_hosts = "known_hosts" # the same, from a file that ssh-keyscan wrote
#key = "ref+file://app-repo.key"        # private, without a passphrase
#certificate = "ref+file://app-repo-cert.pub"
#repositories = ["org/*"]    # who asks for others is told that there are none
#case = "lower"              # for servers to which Org/App is org/app; else "exact"
#max_pack = "1GiB"           # of one push
#push_options = ["ci.skip"]  # that may be passed on; else none
"""

POLICY: Final = """\
# Wirewarden's rules. Block wins over hold, hold over mask, mask over allow, and
# what no rule allows is denied. `gateway explain` says which rule fires and why.

version = 1
default = "deny"

[sets]
pii = ["*.email", "*.ssn", "*.card_number"]
harmless = ["application_name", "statement_timeout", "lock_timeout", "timezone", "datestyle",
            "intervalstyle", "extra_float_digits", "transaction_isolation",
            "default_transaction_isolation", "default_transaction_read_only"]

# Everyone may look, and change rows.
[[rule]]
id = "read-and-write"
on = ["sql.select", "sql.insert", "sql.update", "sql.delete"]
verdict = "allow"

# What drivers do besides: transactions, cursors, prepared statements (what these
# run is judged by the rules for it) and settings that change no meaning.
[[rule]]
id = "session"
on = ["sql.transaction", "sql.show", "sql.prepare", "sql.execute", "sql.deallocate",
      "sql.declare", "sql.fetch", "sql.close", "sql.explain"]
verdict = "allow"

[[rule]]
id = "settings"
on = "sql.set"
where = { sets = "@harmless" }
verdict = "allow"

[[rule]]
id = "unbounded-write"
on = ["sql.update", "sql.delete"]
where = { has_where = false }
verdict = "block"
message = "an UPDATE or DELETE needs a WHERE"

[[rule]]
id = "constant-where"
on = ["sql.update", "sql.delete"]
where = { where_is_constant = true }
verdict = "block"
message = "a WHERE that is true for every row bounds nothing"

[[rule]]
id = "delete-needs-approval"
on = "sql.delete"
verdict = "hold"
approve = { groups = ["dba"], count = 1, ttl = "30m" }
message = "a DELETE on production needs a second pair of eyes"

[[rule]]
id = "pii-masked"
on = "sql.select"
verdict = "mask"
mask = [{ columns = "@pii", with = "redact" }]

# `gateway policy test` runs these.
[[test]]
name = "a delete waits for a person"
given = { sql = "DELETE FROM orders WHERE id = 1", principal = { kind = "ci" } }
expect = { verdict = "hold", rule = "delete-needs-approval" }

[[test]]
name = "a delete of everything does not"
given = { sql = "DELETE FROM orders", principal = { kind = "ci" } }
expect = { verdict = "block", rule = "unbounded-write" }

[[test]]
name = "a condition that is always true bounds nothing"
given = { sql = "UPDATE orders SET status = 'paid' WHERE 1 = 1", principal = { kind = "agent" } }
expect = { verdict = "block", rule = "constant-where" }

[[test]]
name = "personal data is masked"
given = { sql = "SELECT email FROM users", principal = { kind = "agent" } }
expect = { verdict = "mask", masks = "pii-masked" }

[[test]]
name = "rows may be added"
given = { sql = "INSERT INTO orders (id) VALUES (1)", principal = { kind = "ci" } }
expect = { verdict = "allow", rule = "read-and-write" }

[[test]]
name = "drivers may begin"
given = { sql = "BEGIN", principal = { kind = "ci" } }
expect = { verdict = "allow", rule = "session" }

[[test]]
name = "harmless settings may change"
given = { sql = "SET application_name = 'report'", principal = { kind = "ci" } }
expect = { verdict = "allow", rule = "settings" }

[[test]]
name = "tables stay"
given = { sql = "DROP TABLE orders", principal = { kind = "person" } }
expect = { verdict = "deny" }
"""
