# Reads fail2ban's configuration with fail2ban's own code, and rehearses the reload of a jail without a server.
#
#   ARGV  survey FOLDER          every jail of the configuration, with its settings as fail2ban computes them
#         rehearse FOLDER JAIL [DROP_IN CANDIDATE]
#                                what `reload JAIL` would send, applied to a server that is never started; with the file
#                                CANDIDATE in place of DROP_IN, or without DROP_IN if CANDIDATE is empty (view.py)
#   Prints one JSON object. What is wrong with the configuration is in its "errors"; the exit code is 0 all the same.
#
# Why a rehearsal: `fail2ban-client -t` compiles no regular expression and parses no duration, and a reload that
# fails on one loses the jail. And it reads all jails, while a reload of one jail is not affected by a mistake in another. Here the
# same commands run through the same code, in a separate process that has no jail to lose: nothing is started, no action runs, no
# database is opened, no log target is set. An action written in Python is loaded and created, as the reload would do; it is
# neither started nor asked to ban.
#
# It runs as `python3 -I -c`, with the interpreter that fail2ban-client names in its first line, so that the installed version of
# fail2ban does the checking. Its arguments contain nothing from a request but JAIL, which is a checked name: the paths are the
# agent's own.
import json
import logging
import os
import re
import sys

words = []
# fail2ban's reader only warns about this and continues without a value, on which its server then fails.
NO_NUMBER = "not a whole number"


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


def seconds(text):
    from fail2ban.server.mytime import MyTime
    try:
        return int(MyTime.str2seconds(text))
    except Exception:
        return None


def settings(jails, name):
    """One jail's options, each computed separately, so that one that fails does not hide the others."""
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


def origins(share, folder, jail):
    """For each setting that bangui changes the file that determines it."""
    names = ("enabled", "bantime", "findtime", "maxretry", "ignoreip")
    found = {name: origin(share, folder.rstrip("/") + "/jail", jail, name) for name in names}
    return {name: short(found[name][0], folder) for name in names if found[name]}


def survey(folder):
    from fail2ban.client.jailsreader import JailsReader
    from fail2ban.version import version
    share = {}
    jails = JailsReader(share_config=share)
    jails.setBaseDir(folder)
    # Includes that do not exist are listed too.
    files = lambda: [key[len("inc:"):] for key in share if isinstance(key, str) and key.startswith("inc:")]
    try:
        jails.read()
        # What fail2ban itself adds before it computes a jail.
        jails.merge_defaults({"fail2ban_version": version, "fail2ban_confpath": jails.getBaseDir()})
        names = [name for name in jails.sections() if name not in ("INCLUDES", "Definition", "DEFAULT")]
        found = {name: dict(settings(jails, name), origins=origins(share, folder, name)) for name in names}
        return {"jails": found, "errors": words, "files": files()}
    except Exception as error:
        return {"jails": {}, "errors": words + [str(error)], "files": files()}


class Configuration:
    """What `reload JAIL` reads: the server's own settings and one jail, as two lists of commands."""

    def __init__(self, folder, jail):
        from fail2ban.client.fail2banreader import Fail2banReader
        from fail2ban.client.jailsreader import JailsReader
        self.share, self.folder, self.jail = {}, folder.rstrip("/"), jail
        # As fail2ban's Configurator does, which keeps them to itself.
        self.general, self.jails = Fail2banReader(share_config=self.share), JailsReader(share_config=self.share)
        self.general.setBaseDir(folder)
        self.jails.setBaseDir(folder)
        self.well, self.server_commands, self.jail_commands = False, [], []

    def read(self):
        self.general.read()
        self.jails.read()
        self.general.getOptions(None)
        self.well = self.jails.getOptions(self.jail, ignoreWrong=False)
        self.server_commands = self.general.convert()
        self.jail_commands = self.jails.convert()

    def said(self, start, section, option):
        """`FILE: OPTION = VALUE`: what the files say, and which of them."""
        found = origin(self.share, self.folder + "/" + start, section, option)
        if not found:
            return option
        value = " ".join(str(found[1]).split())
        return "%s: %s = %s" % (short(found[0], self.folder), option, value[:300])

    def said_of_jail(self, option):
        """What the jail says about an option, or else its filter."""
        if origin(self.share, self.folder + "/jail", self.jail, option):
            return self.said("jail", self.jail, option)
        try:
            from fail2ban.helpers import extractOptions
            filter_name = extractOptions(self.jails.get(self.jail, "filter"))[0]
            return self.said("filter.d/" + filter_name + ".", "Definition", option)
        except Exception:
            return option

    def as_written(self, option):
        found = origin(self.share, self.folder + "/jail", self.jail, option)
        return found and found[1]

    def origins(self):
        return origins(self.share, self.folder, self.jail)


def explained(configuration, error):
    """An error of the reader, with the file and the option at fault where it does not name them itself."""
    if str(error).startswith("Have not found any log file"):
        return "%s: %s" % (error, configuration.said_of_jail("logpath"))
    if "log level" in str(error).lower():
        return "%s: %s" % (configuration.said("fail2ban", "Definition", "loglevel"), error)
    return str(error)


def try_server_settings(configuration, transmitter):
    """A reload sends these before the jail, which is lost if one of them is refused. Returns what is wrong with them, and the
    database and the log target: whether the server accepts those depends on what it has already."""
    errors, database, target = [], None, None
    for command in configuration.server_commands:
        option, value = command[1], command[2]
        said = lambda: configuration.said("fail2ban", "Thread" if option == "thread" else "Definition", option)
        try:
            if option == "dbfile":
                database = value
            elif option == "logtarget":
                from fail2ban.helpers import extractOptions
                target = {"target": extractOptions(value)[0], "problem": None}
                problem = not_a_log_target(target["target"])
                target["problem"] = problem and "%s: %s" % (said(), problem)
            elif option == "dbmaxmatches":
                if value is None:
                    raise ValueError(NO_NUMBER)
            elif option == "dbpurgeage":
                from fail2ban.server.mytime import MyTime
                MyTime.str2seconds(value)
            elif option != "loglevel":
                failed, answer = transmitter.proceed(command)
                if failed:
                    raise answer
        except Exception as error:
            errors.append("%s: %s" % (said(), str(error)[:300]))
    return errors, database, target


def not_a_log_target(target):
    """Why fail2ban could not log there, by what can be seen without opening it."""
    name = target.upper()
    if name in ("STDOUT", "STDERR", "SYSOUT", "SYSLOG", "INHERITED"):
        return None
    if name == "SYSTEMD-JOURNAL":
        try:
            import systemd.journal
        except ImportError:
            return "Python's module systemd is not installed"
        return None
    folder = os.path.dirname(target) or "/"
    if os.path.isdir(target):
        return "that is a folder"
    if not os.path.isdir(folder):
        return "there is no folder %s" % folder
    at = target if os.path.exists(target) else folder
    # A read-only mount may be the agent's alone.
    if not os.access(at, os.W_OK) and not os.statvfs(at).f_flag & os.ST_RDONLY:
        return "no permission to write there"
    return None


def try_jail(configuration, transmitter):
    """Applies the jail's commands, and returns for each refused one which option of which file caused it."""
    errors = []
    for command in configuration.jail_commands:
        if command[0] not in ("add", "set", "multi-set"):
            continue
        failed, answer = transmitter.proceed(command)
        if not failed:
            continue
        if command[0] == "add":
            errors.append("%s: %s" % (configuration.said_of_jail("backend"), str(answer)[:1000]))
            break
        option = command[2][3:] if command[2].startswith("add") else command[2]
        value = command[3] if len(command) > 3 else None
        if option == "action":
            # For an action written in Python its module, for any other its option.
            of = command[4] if len(command) > 4 and isinstance(command[4], str) else ""
            errors.append("action %s %s: %s: %s" % (value, of, type(answer).__name__, str(answer)[:1000]))
        elif value is None:
            errors.append("%s: %s" % (configuration.said_of_jail(option), NO_NUMBER))
        else:
            said = configuration.said_of_jail(option)
            errors.append("%s: %s: %s" % (said, type(answer).__name__, str(answer)[:1000]))
    return errors


def concerns(word, configuration):
    """Whether an error of the reader is about this jail. A reload skips a file that it cannot read, and continues."""
    decoding = re.match("Error decoding config file '(.*?)': ", word)
    unread = re.match("Could not read config files: (.*)", word)
    paths = decoding.groups() if decoding else unread.group(1).split(", ") if unread else None
    return paths is None or any(may_be_about(path, configuration) for path in paths)


def may_be_about(path, configuration):
    """Whether a file of jail.d that cannot be read may say something of this jail, by what can be seen of it."""
    folder, name = os.path.split(path)
    if os.path.realpath(folder) != os.path.realpath(configuration.folder + "/jail.d"):
        return True
    if name.startswith("zz-bangui-"):
        return name == "zz-bangui-%s.local" % configuration.jail
    try:
        with open(path, "rb") as file:
            titles = re.findall(rb"^[ \t]*\[([^]?\r\n]*)", file.read(), re.MULTILINE)
    except OSError:
        return True
    jail = configuration.jail
    names = (jail.encode(), jail.encode("latin-1", "replace"), b"DEFAULT", b"INCLUDES")
    # Without a readable title it may be about any jail.
    return not titles or any(name in titles for name in names)


def rehearse(folder, jail, view=None):
    from fail2ban.server.server import Server
    from fail2ban.server.transmitter import Transmitter
    configuration = Configuration(folder, jail)
    answer = {"errors": [], "server_errors": [], "enabled": False, "database": None, "log_target": None,
              "settings": None, "origins": {}, "ignoreip_as_written": None}
    try:
        configuration.read()
    except Exception as error:
        answer["errors"] = words + [explained(configuration, error)]
        return answer
    if view and view.candidate and not view.read:
        answer["errors"] = [DROP_IN_NOT_READ % view.path]
        return answer
    errors = [word for word in words if concerns(word, configuration)]
    if not configuration.well and not errors:
        errors.append("the configuration of %r is wrong" % jail)
    transmitter = Transmitter(Server())
    of_server, answer["database"], answer["log_target"] = try_server_settings(configuration, transmitter)
    answer["server_errors"] = of_server
    errors += try_jail(configuration, transmitter)
    answer["enabled"] = any(command[0] == "start" for command in configuration.jail_commands)
    answer["settings"] = settings(configuration.jails, jail)
    answer["origins"] = configuration.origins()
    answer["ignoreip_as_written"] = configuration.as_written("ignoreip")
    answer["errors"] = errors[:50]
    return answer


def main(what, folder, *more):
    # Python actions may print, which must not mix with the answer, and may start threads, which must not keep this process alive.
    answers, sys.stdout = sys.stdout, sys.stderr
    listen()
    if what == "survey":
        answer = survey(folder)
    else:
        jail, view = more[0], View(*more[1:3]) if len(more) > 1 else None
        answer = rehearse(folder, jail, view)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    os._exit(0)


main(*sys.argv[1:])
