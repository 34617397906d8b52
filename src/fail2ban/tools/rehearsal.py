# Reads fail2ban's configuration with fail2ban's own code, and tries a jail out without a server.
#
#   ARGV  survey FOLDER          every jail of the configuration, with its settings as fail2ban computes them
#         rehearse FOLDER JAIL   what `reload JAIL` would send, applied to a server that is never started
#   Prints one JSON object. Whatever is wrong with the configuration is in it ("errors"), and the exit code is 0.
#
# Why a rehearsal: `fail2ban-client -t` compiles no regular expression and reads no duration, and a reload that
# stumbles over one loses the jail (facts-fail2ban.md, 3.6). Here the same commands meet the same code, in a process of
# its own that has no jail to lose: nothing is started, no action runs, no database is opened. Python actions are left
# out, since adding one runs its code.
#
# It runs as `python3 -I -c`, in the interpreter that fail2ban-client names in its first line, so that it is the
# configured fail2ban's version that judges. Nothing of a request is in it: FOLDER is the agent's own, JAIL a checked name.
import json
import logging
import sys

words = []


class Listener(logging.Handler):
    def emit(self, record):
        if len(words) < 50:
            words.append(record.getMessage()[:1000])


def listen():
    for name in ("fail2ban", None):
        logger = logging.getLogger(name)
        logger.handlers = [Listener(level=logging.ERROR)] if name else [logging.NullHandler()]
        logger.propagate = False
    logging.getLogger("fail2ban").setLevel(logging.ERROR)


def reader(folder):
    from fail2ban.client.configurator import Configurator
    configurator = Configurator()
    configurator.setBaseDir(folder)
    return configurator


def seconds(text):
    from fail2ban.server.mytime import MyTime
    try:
        return int(MyTime.str2seconds(text))
    except Exception:
        return None


def settings(jails, name):
    """One jail's options, each on its own: one that cannot be computed does not hide the others."""
    errors = []

    def get(option, default=None):
        try:
            return jails.get(name, option) if jails.has_option(name, option) else default
        except Exception as error:
            errors.append("%s: %s" % (option, str(error)[:300]))
            return default

    from fail2ban.helpers import splitwords, _as_bool
    number = lambda text: int(text) if text is not None and text.strip().isdigit() else None
    lines = lambda text: [line.strip() for line in (text or "").split("\n") if line.strip()]
    backend = get("backend", "auto")
    bantime, findtime = get("bantime"), get("findtime")
    return {
        "enabled": bool(_as_bool(get("enabled", "false"))),
        "bantime": seconds(bantime) if bantime is not None else None,
        "findtime": seconds(findtime) if findtime is not None else None,
        "maxretry": number(get("maxretry")),
        "ignoreip": splitwords(get("ignoreip") or ""),
        "filter": (get("filter") or "")[:300],
        "backend": backend[:100],
        "log_files": [] if backend.startswith("systemd") else lines(get("logpath"))[:100],
        "journal_matches": lines(get("journalmatch"))[:100],
        "errors": errors[:20],
    }


def survey(folder):
    from fail2ban.client.jailsreader import JailsReader
    from fail2ban.version import version
    jails = JailsReader(share_config={})
    jails.setBaseDir(folder)
    try:
        jails.read()
        # What fail2ban itself adds before it computes a jail.
        jails.merge_defaults({"fail2ban_version": version, "fail2ban_confpath": jails.getBaseDir()})
        names = [name for name in jails.sections() if name not in ("INCLUDES", "Definition", "DEFAULT")]
        return {"jails": {name: settings(jails, name) for name in names}, "errors": words}
    except Exception as error:
        return {"jails": {}, "errors": words + [str(error)]}


def stream(folder, jail):
    configurator = reader(folder)
    configurator.readAll()
    well = configurator.getOptions(jail, ignoreWrong=False)
    configurator.convertToProtocol()
    return well, configurator.getConfigStream()


def rehearse(folder, jail):
    from fail2ban.server.server import Server
    from fail2ban.server.transmitter import Transmitter
    try:
        well, commands = stream(folder, jail)
    except Exception as error:
        return {"errors": words + [str(error)], "enabled": False, "database": None}
    if not well and not words:
        words.append("the configuration of %r is wrong" % jail)
    errors = list(words)
    transmitter = Transmitter(Server())
    python_actions, database = set(), None
    for command in commands:
        kind = command[0]
        if kind == "set" and command[1] != jail:
            # The server's own settings: a reload sends them along.
            database = command[2] if command[1] == "dbfile" else database
            continue
        if kind == "set" and command[2] == "addaction" and len(command) > 4:
            python_actions.add(command[3])
            continue
        if kind in ("set", "multi-set") and command[2] == "action" and command[3] in python_actions:
            continue
        if kind not in ("add", "set", "multi-set"):
            continue
        failed, answer = transmitter.proceed(command)
        if failed:
            what = " ".join(str(word) for word in command[2:4])[:300]
            errors.append("%s: %s: %s" % (what, type(answer).__name__, str(answer)[:1000]))
            if kind == "add":
                break
    enabled = any(command[0] == "start" for command in commands)
    return {"errors": errors[:50], "enabled": enabled, "database": database}


listen()
answer = survey(sys.argv[2]) if sys.argv[1] == "survey" else rehearse(sys.argv[2], sys.argv[3])
print(json.dumps(answer))
