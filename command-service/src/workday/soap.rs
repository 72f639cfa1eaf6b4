//! SOAP as Workday speaks it: envelopes out, answers and faults in.
//!
//! Shapes are those of facts/connectors.md A2. Elements are found by their local names, whatever their prefixes.

use reqwest::StatusCode;
use roxmltree::{Document, Node, ParsingOptions};

use crate::source::{SourceProblem, without_values};

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const PASSWORD_TEXT: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText";
/// The namespace of Workday's own elements.
pub const NAMESPACE: &str = "urn:com.workday/bsvc";
/// The most elements, attributes and texts that one answer may consist of: a page of workers has some tens of thousands.
const NODES_MAX: u32 = 4_000_000;

/// A request, with its credentials if they are in it. `body` is XML whose prefix `bsvc` is Workday's.
#[must_use]
pub fn envelope(credentials: Option<(&str, &str)>, body: &str) -> String {
    let security = credentials.map(security).unwrap_or_default();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <env:Envelope xmlns:env=\"{ENVELOPE}\" xmlns:bsvc=\"{NAMESPACE}\"><env:Header>{security}</env:Header>\
         <env:Body>{body}</env:Body></env:Envelope>"
    )
}

fn security((user, password): (&str, &str)) -> String {
    let (user, password) = (escape(user), escape(password));
    format!(
        "<wsse:Security env:mustUnderstand=\"1\" xmlns:wsse=\"{WSSE}\"><wsse:UsernameToken>\
         <wsse:Username>{user}</wsse:Username><wsse:Password Type=\"{PASSWORD_TEXT}\">{password}</wsse:Password>\
         </wsse:UsernameToken></wsse:Security>"
    )
}

/// Text as it stands between tags or in an attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Reads XML. Entities and document types are refused: no answer of Workday has any.
#[must_use]
pub fn document(xml: &str) -> Option<Document<'_>> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(xml, options).ok()
}

/// What a fault means. None: there is no fault in it.
///
/// Workday answers faults with status 500. `Client.authenticationError` are wrong credentials; a task that is not authorised is one that
/// the integration user's security group has no right to; anything else of `Client` lies in the request.
#[must_use]
pub fn fault(what: &'static str, status: StatusCode, answer: &Document<'_>) -> Option<SourceProblem> {
    let fault = answer.root_element().descendants().find(|node| is(node, "Fault"))?;
    let code = text(fault, "faultcode").unwrap_or_default().to_lowercase();
    let said = text(fault, "faultstring").unwrap_or_default();
    let lower = said.to_lowercase();
    Some(
        if code.contains("authentication") || lower.contains("invalid username or password") {
            SourceProblem::Unauthorised
        } else if lower.contains("not authorized") {
            SourceProblem::Forbidden { what }
        } else if code.contains("client") || code.contains("validation") || status.is_client_error() {
            SourceProblem::Unexpected {
                what,
                status: status.as_u16(),
                request_id: None,
                message: Some(without_values(said)),
            }
        } else {
            SourceProblem::Unavailable {
                status: status.as_u16(),
                retry_after: None,
            }
        },
    )
}

fn is(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

/// The elements of that name directly within.
pub fn children<'a, 'input: 'a>(node: Node<'a, 'input>, name: &'a str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| is(child, name))
}

/// The first element at the end of a path such as `Worker_Data/Worker_ID`.
#[must_use]
pub fn at<'a, 'input: 'a>(node: Node<'a, 'input>, path: &str) -> Option<Node<'a, 'input>> {
    path.split('/')
        .try_fold(node, |node, name| node.children().find(|child| is(child, name)))
}

/// What is written at the end of a path, without spaces around it. An element that is there and empty says `""`.
#[must_use]
pub fn text<'a>(node: Node<'a, '_>, path: &str) -> Option<&'a str> {
    at(node, path).map(|node| node.text().unwrap_or_default().trim())
}

/// The identifier of one kind in a reference: `<ID type="Employee_ID">21508</ID>`.
#[must_use]
pub fn id<'a>(reference: Node<'a, '_>, kind: &str) -> Option<&'a str> {
    let ids = reference.children().filter(|child| is(child, "ID"));
    let mut of_kind = ids.filter(|id| attribute(*id, "type") == Some(kind));
    of_kind.find_map(|id| id.text().map(str::trim).filter(|text| !text.is_empty()))
}

/// An attribute by its local name.
#[must_use]
pub fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut named = node.attributes().filter(|attribute| attribute.name() == name);
    named.next().map(|attribute| attribute.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty(code: &str, said: &str) -> String {
        format!(
            "<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"{ENVELOPE}\"><SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>{code}</faultcode>\
             <faultstring>{said}</faultstring></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
        )
    }

    #[test]
    fn faults_have_their_meaning_and_repeat_no_value() {
        for (code, said, cause) in [
            (
                "SOAP-ENV:Client.authenticationError",
                "invalid username or password",
                "unauthorised",
            ),
            (
                "SOAP-ENV:Server.processingError",
                "Processing error occurred. The task submitted is not authorized.",
                "forbidden",
            ),
            (
                "SOAP-ENV:Client.validationError",
                "Validation error occurred. Invalid ID value.  '98765' is not a valid ID value for type = 'Employee_ID'",
                "unexpected",
            ),
            (
                "SOAP-ENV:Server.processingError",
                "Processing error occurred.",
                "unavailable",
            ),
        ] {
            let xml = faulty(code, said);
            let answer = document(&xml).expect("XML");
            let problem = fault("workers", StatusCode::INTERNAL_SERVER_ERROR, &answer).expect("a fault");
            assert_eq!(problem.cause(), cause, "{said}");
            assert!(!problem.to_string().contains("98765"), "{problem}");
        }
        let fine = document("<a/>").expect("XML");
        assert!(fault("workers", StatusCode::OK, &fine).is_none());
    }

    #[test]
    fn entities_of_others_and_document_types_are_refused() {
        for xml in [
            "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
            "<!DOCTYPE a [<!ENTITY x \"ha\"><!ENTITY y \"&x;&x;\">]><a>&y;</a>",
            "<a>&unknown;</a>",
            "<a><b></a>",
            "",
        ] {
            assert!(document(xml).is_none(), "{xml}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let password = "a<b&\"c'>\u{e9}";
        let xml = envelope(Some(("ISU@acme", password)), "<bsvc:Get_Workers_Request/>");
        let request = document(&xml).expect("XML");
        let token = at(request.root_element(), "Header/Security/UsernameToken").expect("credentials");
        assert_eq!(text(token, "Username"), Some("ISU@acme"));
        assert_eq!(text(token, "Password"), Some(password));
        assert!(at(request.root_element(), "Body/Get_Workers_Request").is_some());
    }
}
