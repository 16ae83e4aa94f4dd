//! Where a Kafka log is and how it is reached: `kafka://host:port[,host:port]/prefix?option=value&…`.
//!
//! Options (none of them a secret; secrets stand in files):
//!
//! | option | what | default |
//! |---|---|---|
//! | `partitions` | partitions of a new `events.v1` | 6 |
//! | `replication` | copies of each partition of new topics | 3, or as many as there are brokers |
//! | `min_insync` | copies that must have a record before it counts | 2 of 3, else 1 |
//! | `retention_days` | how long new topics keep records; 0 = for ever | 0 |
//! | `topics` | `create` what is missing, or `existing`: never create, check only the partitions | `create`; by `oauthbearer` `existing` |
//! | `delivery_timeout_s` | how long an append waits for brokers | 300 |
//! | `tls` | `yes`: encrypt | `no`, `yes` with any of the options below |
//! | `ca_file` | PEM of the brokers' authority | the system's |
//! | `cert_file`, `key_file`, `key_password_file` | PEM of our certificate and key (mTLS) | none |
//! | `sasl` | `plain`, `scram-sha-256`, `scram-sha-512`, `oauthbearer` | none |
//! | `user`, `password_file` | for `plain` and `scram-…` | none |
//! | `token_file` or `token_command` | for `oauthbearer`: read, or run, whenever a token is due | none |
//!
//! Passwords and tokens are never sent in clear: SASL implies TLS.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::event_log::Topic;

const SCHEME: &str = "kafka://";
const PREFIX_DEFAULT: &str = "shiyu";
/// Longest name Kafka takes for a topic, with room for ours.
const PREFIX_MAX: usize = 100;

/// A `--log` that cannot be understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("cannot use \"{url}\" as the log: {problem}")]
pub struct SettingsError {
    /// What was given.
    url: String,
    /// What is wrong with it, and what to write instead.
    problem: String,
}

/// How we prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    /// User and password, with the mechanism's name as Kafka has it.
    Password {
        /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`.
        mechanism: &'static str,
        /// User.
        user: String,
        /// File that holds the password.
        password_file: PathBuf,
    },
    /// A token from a file, read whenever one is due.
    TokenFile(PathBuf),
    /// A token from the output of a command, run whenever one is due.
    TokenCommand(String),
}

/// How the connection is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM of the brokers' authority.
    pub ca_file: Option<PathBuf>,
    /// PEM of our certificate and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// File that holds the key's password.
    pub key_password_file: Option<PathBuf>,
}

/// Settings of a Kafka log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub servers: String,
    /// First part of the topics' names.
    pub prefix: String,
    /// Partitions of a new `events.v1`.
    pub partitions: u32,
    /// Copies of each partition of new topics; `None`: three, or as many as there are brokers.
    pub replication: Option<u32>,
    /// Copies that must have a record before it counts.
    pub min_insync: Option<u32>,
    /// How long new topics keep records; `None`: for ever.
    pub retention: Option<Duration>,
    /// Whether missing topics are made.
    pub create: bool,
    /// How long an append waits for brokers.
    pub delivery_timeout: Duration,
    /// Encryption; `None`: in clear.
    pub tls: Option<Tls>,
    /// Identification.
    pub sasl: Option<Sasl>,
}

impl KafkaSettings {
    /// Reads `kafka://host:port[,host:port]/prefix?option=value&…`.
    pub fn parse(url: &str) -> Result<Self, SettingsError> {
        let fail = |problem: String| SettingsError {
            url: url.to_owned(),
            problem,
        };
        let rest = url
            .strip_prefix(SCHEME)
            .ok_or_else(|| fail(format!("it does not begin with {SCHEME}")))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (servers, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = match prefix.trim_end_matches('/') {
            "" => PREFIX_DEFAULT,
            given => given,
        };
        check_servers(servers).map_err(fail)?;
        check_prefix(prefix).map_err(fail)?;
        let mut options = Options::read(query).map_err(fail)?;
        let settings = options.settings(servers, prefix).map_err(fail)?;
        options.none_left().map_err(fail)?;
        Ok(settings)
    }

    /// Name of a city's topic, e.g. `shiyu.yunlan.events.v1`.
    pub fn topic_name(&self, city: &str, topic: Topic) -> String {
        format!("{}.{city}.{}", self.prefix, topic.name())
    }
}

impl fmt::Display for KafkaSettings {
    /// Where it is, without options.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}/{}", self.servers, self.prefix)
    }
}

fn check_servers(servers: &str) -> Result<(), String> {
    for server in servers.split(',') {
        let port = server.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((host, Ok(port))) if !host.is_empty() && port > 0 => {}
            _ => return Err(format!("\"{server}\" is no HOST:PORT of a broker")),
        }
    }
    Ok(())
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if prefix.len() > PREFIX_MAX || !prefix.chars().all(fits) {
        return Err(format!(
            "the prefix \"{prefix}\" may hold letters, digits, \".\", \"_\" and \"-\", at most {PREFIX_MAX}"
        ));
    }
    Ok(())
}

/// Options that were not looked at yet.
struct Options(BTreeMap<String, String>);

impl Options {
    fn read(query: &str) -> Result<Self, String> {
        let mut options = BTreeMap::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("\"{part}\" is no option=value"))?;
            let value = percent_decoded(value)
                .ok_or_else(|| format!("the value of \"{name}\" has a % that is no %XX of UTF-8"))?;
            if options.insert(name.to_owned(), value).is_some() {
                return Err(format!("option \"{name}\" is given twice"));
            }
        }
        Ok(Self(options))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn number(&mut self, name: &str, least: u32, most: u32) -> Result<Option<u32>, String> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(format!("{name}={text}: give a number from {least} to {most}")),
        }
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.take(name).map(PathBuf::from)
    }

    fn settings(&mut self, servers: &str, prefix: &str) -> Result<KafkaSettings, String> {
        let topics = self.take("topics");
        let sasl = self.sasl()?;
        // librdkafka's binding gives the client that creates topics no token.
        let by_token = matches!(sasl, Some(Sasl::TokenFile(_) | Sasl::TokenCommand(_)));
        let create = match topics.as_deref() {
            Some("create") if by_token => {
                return Err(
                    "topics=create: topics cannot be created by sasl=oauthbearer; leave it out, make them as the error then says".to_owned(),
                );
            }
            None | Some("create") => !by_token,
            Some("existing") => false,
            Some(other) => return Err(format!("topics={other}: give create or existing")),
        };
        let tls = self.tls(sasl.is_some())?;
        let retention_days = self.number("retention_days", 0, 36_500)?.unwrap_or(0);
        let replication = self.number("replication", 1, 9)?;
        let min_insync = self.number("min_insync", 1, 9)?;
        if let (Some(replication), Some(min_insync)) = (replication, min_insync)
            && min_insync > replication
        {
            return Err(format!(
                "min_insync={min_insync} is more than replication={replication}"
            ));
        }
        Ok(KafkaSettings {
            servers: servers.to_owned(),
            prefix: prefix.to_owned(),
            partitions: self.number("partitions", 1, 1000)?.unwrap_or(6),
            replication,
            min_insync,
            retention: (retention_days > 0).then(|| Duration::from_hours(u64::from(retention_days) * 24)),
            create,
            delivery_timeout: Duration::from_secs(u64::from(
                self.number("delivery_timeout_s", 1, 86_400)?.unwrap_or(300),
            )),
            tls,
            sasl,
        })
    }

    fn sasl(&mut self) -> Result<Option<Sasl>, String> {
        let Some(mechanism) = self.take("sasl") else {
            return Ok(None);
        };
        let mechanism = match mechanism.as_str() {
            "plain" => "PLAIN",
            "scram-sha-256" => "SCRAM-SHA-256",
            "scram-sha-512" => "SCRAM-SHA-512",
            "oauthbearer" => return self.token().map(Some),
            other => {
                return Err(format!(
                    "sasl={other}: give plain, scram-sha-256, scram-sha-512 or oauthbearer"
                ));
            }
        };
        match (self.take("user"), self.path("password_file")) {
            (Some(user), Some(password_file)) => Ok(Some(Sasl::Password {
                mechanism,
                user,
                password_file,
            })),
            _ => Err(format!(
                "sasl={} needs user and password_file",
                mechanism.to_lowercase()
            )),
        }
    }

    fn token(&mut self) -> Result<Sasl, String> {
        match (self.path("token_file"), self.take("token_command")) {
            (Some(file), None) => Ok(Sasl::TokenFile(file)),
            (None, Some(command)) => Ok(Sasl::TokenCommand(command)),
            _ => Err("sasl=oauthbearer needs either token_file or token_command".to_owned()),
        }
    }

    fn tls(&mut self, has_sasl: bool) -> Result<Option<Tls>, String> {
        let wanted = match self.take("tls").as_deref() {
            None => None,
            Some("yes") => Some(true),
            Some("no") => Some(false),
            Some(other) => return Err(format!("tls={other}: give yes or no")),
        };
        let identity = match (self.path("cert_file"), self.path("key_file")) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err("cert_file and key_file go together".to_owned()),
        };
        let tls = Tls {
            ca_file: self.path("ca_file"),
            identity,
            key_password_file: self.path("key_password_file"),
        };
        let needed = has_sasl || tls != Tls::default();
        match wanted {
            Some(false) if has_sasl => Err("sasl needs TLS: passwords and tokens are not sent in clear".to_owned()),
            Some(false) if needed => Err("tls=no, but files for TLS are given".to_owned()),
            Some(true) => Ok(Some(tls)),
            _ => Ok(needed.then_some(tls)),
        }
    }

    fn none_left(&self) -> Result<(), String> {
        const KNOWN: &str = "partitions, replication, min_insync, retention_days, topics, delivery_timeout_s, tls, ca_file, cert_file, \
                             key_file, key_password_file, sasl, user, password_file, token_file, token_command";
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) if KNOWN.split(", ").any(|known| known == name) => {
                Err(format!("option \"{name}\" has no use with the others given"))
            }
            Some(name) => Err(format!("there is no option \"{name}\"; there are: {KNOWN}")),
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_shortest_url_has_the_defaults() {
        let settings = KafkaSettings::parse("kafka://10.0.0.1:9092,b.example:9093").unwrap();
        assert_eq!(settings.servers, "10.0.0.1:9092,b.example:9093");
        assert_eq!(settings.topic_name("yunlan", Topic::Events), "shiyu.yunlan.events.v1");
        assert_eq!(
            (settings.partitions, settings.retention, settings.create),
            (6, None, true)
        );
        assert_eq!((settings.tls, settings.sasl), (None, None));
    }

    #[test]
    fn options_are_read_and_sasl_implies_tls() {
        let settings = KafkaSettings::parse(
            "kafka://k:9092/city.log?partitions=12&replication=3&retention_days=400&topics=existing&sasl=scram-sha-512&user=hub&password_file=/etc/p%20w&ca_file=/etc/ca.pem",
        )
        .unwrap();
        assert_eq!((settings.partitions, settings.replication), (12, Some(3)));
        assert_eq!(settings.retention, Some(Duration::from_hours(9_600)));
        assert!(!settings.create);
        assert_eq!(settings.tls.unwrap().ca_file, Some("/etc/ca.pem".into()));
        let Some(Sasl::Password {
            mechanism,
            password_file,
            ..
        }) = settings.sasl
        else {
            unreachable!("scram is a password");
        };
        assert_eq!((mechanism, password_file), ("SCRAM-SHA-512", "/etc/p w".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |url: &str| KafkaSettings::parse(url).unwrap_err().to_string();
        let cases = [
            ("http://k:9092", "does not begin with kafka://"),
            ("kafka://k", "\"k\" is no HOST:PORT"),
            ("kafka://k:9092,/p", "\"\" is no HOST:PORT"),
            ("kafka://k:9092/a b", "the prefix \"a b\""),
            (
                "kafka://k:9092?partitions=0",
                "partitions=0: give a number from 1 to 1000",
            ),
            ("kafka://k:9092?partition=2", "there is no option \"partition\""),
            ("kafka://k:9092?tls=yes&tls=no", "given twice"),
            ("kafka://k:9092?sasl=kerberos", "sasl=kerberos: give plain"),
            (
                "kafka://k:9092?sasl=plain&user=a",
                "sasl=plain needs user and password_file",
            ),
            ("kafka://k:9092?sasl=oauthbearer", "either token_file or token_command"),
            (
                "kafka://k:9092?sasl=oauthbearer&token_file=t&tls=no",
                "not sent in clear",
            ),
            (
                "kafka://k:9092?topics=create&sasl=oauthbearer&token_file=t",
                "topics cannot be created by sasl=oauthbearer",
            ),
            ("kafka://k:9092?cert_file=c", "cert_file and key_file go together"),
            ("kafka://k:9092?user=a", "has no use with the others given"),
            (
                "kafka://k:9092?replication=1&min_insync=2",
                "is more than replication=1",
            ),
            ("kafka://k:9092?ca_file=%zz", "no %XX"),
        ];
        for (url, expected) in cases {
            assert!(problem(url).contains(expected), "{url}: {}", problem(url));
        }
    }
}
