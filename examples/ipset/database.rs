//! `/etc/services` and `/etc/protocols`: lines of a name, a value, further names, and a comment.

use std::fs;

/// A file of this kind.
pub(crate) struct Database(Vec<Row>);

/// A line: its names, the official one first.
struct Row {
    value: String,
    names: Vec<String>,
}

impl Database {
    /// A file that is not there has no names.
    pub(crate) fn open(path: &str) -> Self {
        Self::read(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()))
    }

    pub(crate) fn read(text: &str) -> Self {
        let row = |line: &str| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (name, value) = (words.next()?, words.next()?);
            let names = std::iter::once(name).chain(words).map(str::to_owned).collect();
            Some(Row { value: value.to_owned(), names })
        };
        Self(text.lines().filter_map(row).collect())
    }

    /// The values that have this name, in the order of the file.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |row| row.names.iter().any(|known| known == name)).map(|row| row.value.as_str())
    }

    /// The official name of a value.
    pub(crate) fn name(&self, value: &str) -> Option<&str> {
        self.0.iter().find(|row| row.value == value)?.names.first().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_names_and_a_value() {
        let text = "http\t80/tcp\twww # web\nshell 514/tcp cmd syslog\nsyslog 514/udp\nbroken\n\n# x 1/tcp\n";
        let database = Database::read(text);
        let values = |name| database.values(name).collect::<Vec<_>>();
        assert_eq!(values("www"), ["80/tcp"]);
        assert_eq!(values("syslog"), ["514/tcp", "514/udp"]);
        assert_eq!(values("broken"), [""; 0]);
        assert_eq!(database.name("514/tcp"), Some("shell"));
        assert_eq!(database.name("1/tcp"), None);
    }
}
