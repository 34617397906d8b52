//! The jails that are switched on and off: good ones that run, bad ones that are refused, and odd ones that may do either.

use std::collections::BTreeMap;
use std::path::Path;

/// What must happen when the jail is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It runs.
    Good,
    /// It is refused.
    Bad,
    /// Either: it depends on the version of fail2ban, or on the jail's name.
    Odd,
}

/// A jail. Its name differs from every other in the first 9 bytes: the kernel keeps no more of it in a thread's name.
#[derive(Debug, Clone)]
pub struct Jail {
    pub name: String,
    pub kind: Kind,
    /// Its configuration file.
    pub file: String,
    /// The file of its filter.
    pub filter: String,
}

/// All jails, each off, and every file that they need.
pub struct Jails {
    pub all: Vec<Jail>,
    /// Texts by path inside the configuration folder.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Log files, by absolute path.
    pub logs: Vec<String>,
    folder: String,
}

const FILTER: &str = "[Definition]\nfailregex = ^\\s*login failed from <ADDR>$\ndatepattern = {^LN-BEG}\n";
const ACTION: &str =
    "class Action(ActionBase):\n    def __init__(self, jail, name):\n        super().__init__(jail, name)\n";

impl Jails {
    /// For a configuration in `folder/config`.
    pub fn new(folder: &Path) -> Self {
        let folder = folder.display().to_string();
        let mut jails = Self { all: Vec::new(), files: BTreeMap::new(), logs: Vec::new(), folder };
        jails.write("jail.d/aa-default.conf", "[DEFAULT]\nignoreip = 192.0.2.1\n");
        jails.add_good();
        jails.add_odd();
        jails.add_bad_filters();
        jails.add_bad_actions();
        jails.add_bad_values();
        jails
    }

    fn write(&mut self, file: &str, text: impl Into<Vec<u8>>) {
        self.files.insert(file.to_owned(), text.into());
    }

    /// A jail with `lines`, which replace its default lines that name the same option.
    fn add(&mut self, kind: Kind, name: &str, lines: &str) {
        let number = self.all.len();
        let log = format!("{}/{number}.log", self.folder);
        let named = |option: &str| lines.lines().any(|line| line.starts_with(option));
        let mut text = format!("[{name}]\nenabled = false\n{lines}\n");
        let filter = format!("own{number}");
        for (option, value) in [("filter", &*filter), ("logpath", &*log), ("action", "note[name=own]")] {
            if !named(option) {
                text.push_str(&format!("{option} = {value}\n"));
            }
        }
        if !named("filter") {
            self.write(&format!("filter.d/{filter}.conf"), FILTER);
        }
        self.logs.push(log);
        let file = format!("jail.d/{number}.conf");
        self.write(&file, text);
        let filter = format!("filter.d/{filter}.conf");
        self.all.push(Jail { name: name.to_owned(), kind, file, filter });
    }

    /// A jail whose filter has this text.
    fn add_filter(&mut self, kind: Kind, name: &str, text: impl Into<Vec<u8>>) {
        let filter = format!("with-{name}");
        self.add(kind, name, &format!("filter = {filter}"));
        let file = format!("filter.d/{filter}.conf");
        self.write(&file, text);
        self.all.last_mut().unwrap().filter = file;
    }

    /// A jail with an action written in Python.
    fn add_python(&mut self, kind: Kind, name: &str, text: &str) {
        self.add(kind, name, &format!("action = {name}.py"));
        self.write(&format!("action.d/{name}.py"), text);
    }

    fn add_good(&mut self) {
        use Kind::Good;
        for name in [
            "alpha",
            "bravo",
            "größe",
            "Alpha",
            "very-long-name-of-a-jail-that-goes-on-and-on-until-it-has-its-70-chars",
        ] {
            self.add(Good, name, "");
        }
        self.add(Good, "charlie", "bantime = 1h\nfindtime = 10m\nmaxretry = 3");
        self.write("shared.conf", format!("[DEFAULT]\nchosen = {}/included.log\n", self.folder));
        self.logs.push(format!("{}/included.log", self.folder));
        self.add(Good, "delta", "logpath = %(chosen)s");
        let delta = self.all.last().unwrap().file.clone();
        let text = String::from_utf8(self.files[&delta].clone()).unwrap();
        self.write(&delta, format!("[INCLUDES]\nbefore = ../shared.conf\n{text}"));
        self.add_python(Good, "foxtrot", &format!("from fail2ban.server.action import ActionBase\n{ACTION}"));
        self.logs.extend([1, 2].map(|n| format!("{}/many-{n}.log", self.folder)));
        self.add(Good, "golf", &format!("logpath = {}/many-*.log", self.folder));
        self.add(Good, "hotel", "ignoreip = %(known/ignoreip)s 203.0.113.6");
        self.add(Good, "india", "bantime.increment = true\nbantime.maxtime = 1d");
        self.write(
            "action.d/fails.conf",
            "[Definition]\nactionstart = false\nactionban = false\nactionunban = false\n",
        );
        self.add(Good, "juliet", "action = fails");
        self.add_filter(
            Good,
            "kilo",
            "[Definition]\nprefregex = ^app: <F-CONTENT>.+</F-CONTENT>$\nfailregex = ^failed from <ADDR>$\n",
        );
        self.add_filter(
            Good,
            "lima",
            "[Init]\nmaxlines = 3\n[Definition]\nfailregex = ^one$<SKIPLINES>^two <HOST>$\n",
        );
        self.add(Good, "mike", "backend = auto\nlogencoding = utf-8");
        self.add(Good, "oscar", "ignorecommand = /bin/false <ip>");
        self.add(Good, "papa", "action = note[name=one]\n    note[name=two, actname=two]");
        let log = format!("{}/f2b.log", self.folder);
        self.add_filter(
            Good,
            "recidive",
            "[Definition]\nfailregex = NOTICE\\s+\\[(?!recidive\\])[^\\]]*\\] Ban <HOST>\n",
        );
        let file = self.all.last().unwrap().file.clone();
        let text = String::from_utf8(self.files[&file].clone()).unwrap();
        let own = self.logs.pop().unwrap();
        self.write(&file, text.replace(&own, &log));
        self.add(Good, "quebec", "maxretry = 2");
        let file = self.all.last().unwrap().file.clone();
        let text = String::from_utf8(self.files[&file].clone()).unwrap();
        self.write(&file, text.replace('\n', "\r\n"));
    }

    fn add_odd(&mut self) {
        use Kind::Odd;
        for name in ["ssh ddos", "a,b", "-dash", "all", "loglevel", "dbfile", "status"] {
            self.add(Odd, name, "");
        }
        self.add(Odd, "odd-folder", "logpath = /tmp");
        self.add(Odd, "odd-usedns", "usedns = maybe");
        self.add(Odd, "odd-journal", "backend = systemd");
        self.add_filter(Odd, "odd-empty", "[Definition]\n");
        self.add_filter(Odd, "odd-include", format!("[INCLUDES]\nbefore = nowhere.conf\n{FILTER}"));
    }

    fn add_bad_filters(&mut self) {
        use Kind::Bad;
        self.add_filter(Bad, "bad-regex", "[Definition]\nfailregex = ^bad ( from <HOST>$\n");
        self.add_filter(Bad, "bad-nohost", "[Definition]\nfailregex = ^login failed$\n");
        self.add_filter(Bad, "bad-prefix", format!("{FILTER}prefregex = ^(<F-CONTENT>.+$\n"));
        self.add_filter(Bad, "bad-ignore", format!("{FILTER}ignoreregex = ^(\n"));
        self.add_filter(Bad, "bad-section", "failregex = ^login failed from <ADDR>$\n");
        self.add_filter(Bad, "bad-byte", [b"# gr\xf6\xdfer\n", FILTER.as_bytes()].concat());
        self.add_filter(
            Bad,
            "bad-lines",
            "[Init]\nmaxlines = many\n[Definition]\nfailregex = ^two <HOST>$\n",
        );
        self.add(Bad, "bad-missing", "filter = nowhere");
    }

    fn add_bad_actions(&mut self) {
        use Kind::Bad;
        self.add(Bad, "bad-action", "action = nowhere");
        self.add_python(Bad, "bad-pyimport", "raise ValueError('boom')\n");
        self.add_python(Bad, "bad-pysyntax", "def (\n");
        self.add_python(Bad, "bad-pyclass", "x = 1\n");
        let text = format!(
            "from fail2ban.server.action import ActionBase\n{ACTION}        raise ValueError('boom')\n"
        );
        self.add_python(Bad, "bad-pystart", &text);
        let text = format!("from fail2ban.server.action import ActionBase\n{ACTION}");
        self.write("action.d/narrow.py", text);
        self.add(Bad, "bad-pyoption", "action = narrow.py[colour=red]");
    }

    fn add_bad_values(&mut self) {
        use Kind::Bad;
        for (name, line) in [
            ("bad-log", "logpath = /none/such.log"),
            ("bad-glob", "logpath = /none/*.log"),
            ("bad-bantime", "bantime = banana"),
            ("bad-findtime", "findtime = ten parsecs"),
            ("bad-maxretry", "maxretry = five"),
            ("bad-value", "bantime = %(nowhere)s"),
            ("bad-circle", "logpath = %(logpath)s"),
            ("bad-backend", "backend = nonsense"),
            ("bad-encoding", "logencoding = nonsense-8"),
            ("bad-formula", "bantime.increment = true\nbantime.formula = ban.Time * ("),
        ] {
            self.add(Bad, name, line);
        }
    }
}
