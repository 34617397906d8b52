# fail2ban's configuration as it would be with one file of it replaced, and which of its files determines which option.
#
# A change is tested before it is made, and a file in jail.d would take effect the next time anything reloads or restarts fail2ban.
# So the new file is read from elsewhere, under the name it will have: by fail2ban's own reader, in this process only, with every
# other file, include and link as the host has it. A copy of the folder would not do, since includes may lead out of it.
import configparser
import fnmatch
import glob
import os

DROP_IN_NOT_READ = "fail2ban does not read %s: nothing that is written there would have an effect"


class View:
    """Lets fail2ban's reader find the file `candidate` as `drop_in`, or no file there if `candidate` is empty."""

    def __init__(self, drop_in, candidate):
        self.path, self.candidate, self.read = drop_in, candidate, False
        self.folder, self.name = os.path.realpath(os.path.dirname(drop_in)), os.path.basename(drop_in)
        self.really = (open, glob.glob, os.path.exists, os.path.isfile)
        configparser.open, glob.glob = self.open, self.glob
        os.path.exists = lambda path: self.there(path, self.really[2])
        os.path.isfile = lambda path: self.there(path, self.really[3])

    def is_it(self, path):
        return (isinstance(path, str) and os.path.basename(path) == self.name
                and os.path.realpath(os.path.dirname(path)) == self.folder)

    def open(self, path, *more, **named):
        if not self.is_it(path):
            return self.really[0](path, *more, **named)
        if not self.candidate:
            raise FileNotFoundError(path)
        self.read = True
        return self.really[0](self.candidate, *more, **named)

    def there(self, path, really):
        return bool(self.candidate) if self.is_it(path) else really(path)

    def glob(self, pattern, *more, **named):
        found = [path for path in self.really[1](pattern, *more, **named) if not self.is_it(path)]
        folder, name = os.path.split(pattern)
        if self.candidate and fnmatch.fnmatch(self.name, name) and os.path.realpath(folder) == self.folder:
            found.append(os.path.join(folder, self.name))
        return found


def files_of(share, start):
    """The files that make up `start` (`FOLDER/jail`), in the order in which they are read."""
    lists = [files for key, files in share.items() if isinstance(key, str) and key.startswith("inc-path:" + start)]
    return max(lists, key=len, default=[])


def origin(share, start, section, option):
    """The file that determines an option, and its value: the last file that has it for the section, or else for all sections."""
    last = None
    for parsed in ("_sections", "_defaults"):
        for path in files_of(share, start):
            parser = share.get("inc:" + path, (None, None))[0]
            options = getattr(parser, parsed, {})
            options = options.get(section, {}) if parsed == "_sections" else options
            if option in options:
                last = (path, options[option])
        if last:
            break
    return last


def short(path, folder):
    """A file's name for messages: without the folder, if the file is in it."""
    folder = folder.rstrip("/") + "/"
    return path[len(folder):] if path.startswith(folder) else path
