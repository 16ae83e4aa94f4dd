//! Tokens for SASL OAUTHBEARER: from a file that somebody renews, or from a command.
//!
//! A token is a JWT: librdkafka needs to know whose it is (`sub`) and until when it holds (`exp`). Nothing is verified here; the
//! brokers do that.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use thiserror::Error;

/// A command that takes longer is killed: brokers wait for it.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why there is no token. Never quotes the token.
#[derive(Debug, Error)]
pub(super) enum TokenError {
    #[error("failed to read the token file")]
    File(#[source] std::io::Error),
    #[error("failed to run the token command")]
    Command(#[source] std::io::Error),
    #[error("the token command ended with {0}")]
    Status(std::process::ExitStatus),
    #[error("the token command ran longer than {} s", COMMAND_TIME_MAX.as_secs())]
    Slow,
    #[error("the token is no JWT with \"sub\" and \"exp\"")]
    Form,
    #[error("the token expired {0} s ago")]
    Expired(u64),
}

/// The token in a file.
pub(super) fn from_file(file: &Path) -> Result<String, TokenError> {
    std::fs::read_to_string(file).map_err(TokenError::File)
}

/// The token a command prints; the command is run by `sh`.
pub(super) fn from_command(command: &str) -> Result<String, TokenError> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(TokenError::Command)?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(TokenError::Command)? {
            break status;
        }
        if begun.elapsed() > COMMAND_TIME_MAX {
            child.kill().map_err(TokenError::Command)?;
            child.wait().map_err(TokenError::Command)?;
            return Err(TokenError::Slow);
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    if !status.success() {
        return Err(TokenError::Status(status));
    }
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text).map_err(TokenError::Command)?;
    }
    Ok(text)
}

#[derive(serde::Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970 UTC; some issuers write a fraction.
    exp: f64,
}

/// Reads whose a token is and until when it holds.
pub(super) fn parse(text: &str, now: SystemTime) -> Result<OAuthToken, TokenError> {
    let token = text.trim();
    let mut parts = token.split('.');
    let (Some(_header), Some(claims), Some(_signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(TokenError::Form);
    };
    let claims: Option<Claims> = URL_SAFE_NO_PAD
        .decode(claims)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let claims = claims.ok_or(TokenError::Form)?;
    let now_s = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    if claims.exp <= now_s {
        return Err(TokenError::Expired((now_s - claims.exp) as u64));
    }
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub,
        lifetime_ms: (claims.exp * 1000.0) as i64,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when_it_holds() {
        let text = jwt(r#"{"sub":"hub","exp":1900000000.5,"iss":"x"}"#);
        let before = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let token = parse(&format!("{text}\n"), before).unwrap();
        assert_eq!(
            (token.principal_name.as_str(), token.lifetime_ms),
            ("hub", 1_900_000_000_500)
        );
        assert_eq!(token.token, text);
        for wrong in ["", "a.b", "a.%%.c", &jwt(r#"{"sub":"hub"}"#)] {
            assert!(matches!(parse(wrong, before), Err(TokenError::Form)), "{wrong}");
        }
        let after = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_010);
        assert!(matches!(parse(&text, after), Err(TokenError::Expired(9))));
    }

    #[test]
    fn a_command_gives_a_token_or_says_how_it_ended() {
        assert_eq!(from_command("echo a.b.c").unwrap(), "a.b.c\n");
        assert!(from_command("exit 3").unwrap_err().to_string().contains('3'));
    }
}
