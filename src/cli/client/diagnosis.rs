//! `bangui diagnosis`: what is wrong or at risk, the worst first, each with what to do.

use super::calls;
use super::error::ClientError;
use super::fields;
use super::output::Output;
use super::session::Session;
use super::table::time;

/// Prints every finding; done only if every server could be asked.
///
/// # Errors
/// If the server refuses, or not all servers could be asked.
pub async fn run(session: &Session, output: &Output) -> Result<(), ClientError> {
    let document = session.get(&calls::DIAGNOSIS.of(&[])).await?;
    let not_asked = fields::NOT_ASKED.items(&document.value);
    if output.json {
        output.document(&document)?;
    } else {
        let findings = fields::FINDINGS.items(&document.value);
        for finding in findings {
            let place = [fields::FINDING_SERVER.text(finding), fields::FINDING_JAIL.text(finding)];
            let place = place.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/");
            let severity = fields::FINDING_SEVERITY.text(finding);
            output.line(&format!("{severity:<8} {place:<20} {}", fields::FINDING_TITLE.text(finding)))?;
            output.line(&format!("         since {}", time(&[fields::FINDING_SINCE.of(finding)])))?;
            output.line(&format!("         {}", fields::FINDING_DETAIL.text(finding)))?;
            output.line(&format!("         to do: {}", fields::FINDING_REMEDY.text(finding)))?;
            let command = fields::FINDING_COMMAND.text(finding);
            if !command.is_empty() {
                output.line(&format!("         $ {command}"))?;
            }
        }
        if findings.is_empty() {
            output.line("No findings.")?;
        }
        for server in not_asked {
            let reason = fields::NOT_ASKED_REASON.text(server);
            output.note(&format!("{} could not be asked: {reason}", fields::NOT_ASKED_SERVER.text(server)));
        }
    }
    match not_asked.len() {
        0 => Ok(()),
        1 => Err(ClientError::NotDone(
            "the diagnosis is not complete: a server could not be asked, or not about everything".to_owned(),
        )),
        servers => Err(ClientError::NotDone(format!(
            "the diagnosis is not complete: {servers} servers could not be asked, or not about everything"
        ))),
    }
}
