//! `shiyu watch risk`: a subscriber.

use std::str::FromStr as _;

use anyhow::anyhow;
use shiyu_schemas::code::Code as _;
use shiyu_schemas::v1;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;

use crate::cli::{OutputFormat, WatchRiskArgs};
use crate::exit::{Exit, Failure, OrExit as _};

/// Follows scores until the stream ends.
pub(crate) async fn run(format: OutputFormat, args: WatchRiskArgs) -> Result<(), Failure> {
    let level = v1::Level::from_word(&args.min_level).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            anyhow!("--min-level is green, blue, yellow, orange or red"),
        )
    })?;
    let place = args.area.as_ref().map(|(level, code)| v1::PlaceFilter {
        place: Some(v1::place_filter::Place::Area(v1::AreaName {
            level: level.clone(),
            code: code.clone(),
        })),
    });
    let mut request = tonic::Request::new(v1::SubscribeRiskRequest {
        model: args.model.clone(),
        r#where: place,
        resolution: args.resolution,
        min_level: level.into(),
        resume_token: args.resume.clone(),
    });
    if let Some(token) = &args.token {
        let value = MetadataValue::from_str(&format!("Bearer {token}")).or_exit(Exit::Usage)?;
        request.metadata_mut().insert("authorization", value);
    }
    let channel = Endpoint::from_shared(args.address.clone())
        .or_exit(Exit::Usage)?
        .connect()
        .await
        .or_exit(Exit::Unavailable)?;
    let mut client = v1::risk_service_client::RiskServiceClient::new(channel);
    let mut stream = client
        .subscribe_risk(request)
        .await
        .or_exit(Exit::Unavailable)?
        .into_inner();
    while let Some(message) = stream.message().await.or_exit(Exit::Unavailable)? {
        match message.step {
            Some(v1::subscribe_risk_response::Step::Snapshot(snapshot)) => {
                snapshot
                    .scores
                    .iter()
                    .for_each(|score| print(format, "snapshot", score, &message.resume_token));
                if snapshot.last && args.once {
                    return Ok(());
                }
            }
            Some(v1::subscribe_risk_response::Step::Delta(delta)) => {
                delta
                    .changed
                    .iter()
                    .for_each(|score| print(format, "changed", score, &message.resume_token));
                for cell in delta.removed {
                    let score = v1::Score {
                        cell,
                        ..v1::Score::default()
                    };
                    print(format, "removed", &score, &message.resume_token);
                }
            }
            Some(v1::subscribe_risk_response::Step::Heartbeat(_)) | None => {}
        }
    }
    Ok(())
}

fn print(format: OutputFormat, what: &str, score: &v1::Score, token: &str) {
    let cell = format!("{:x}", score.cell);
    let level = score.level().word();
    let points: Vec<String> = score
        .contributions
        .iter()
        .map(|contribution| format!("{} {:.1}", contribution.factor, contribution.points))
        .collect();
    let line = match format {
        OutputFormat::Table => format!("{what:9} {cell} {level:7} {:6.2}  {}", score.score, points.join(", ")),
        OutputFormat::Csv => format!("{what},{cell},{level},{},{}", score.score, points.join(" ")),
        OutputFormat::Json => serde_json::json!({
            "what": what, "cell": cell, "level": level, "score": score.score, "contributions": points, "resume_token": token,
        })
        .to_string(),
    };
    super::print_line(&line);
}
