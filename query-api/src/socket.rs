//! The `graphql-transport-ws` protocol: subscriptions, and queries for whoever prefers one connection.
//!
//! Written out here because async-graphql's own server closes with other codes than the protocol names, and never looks at
//! the token again.

use std::{collections::HashMap, sync::Arc, time::Instant};

use async_graphql::Response as GraphResponse;
use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket},
    },
    response::Response,
};
use futures_util::StreamExt;
use infra::auth::AuthError;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    Inner,
    access::Viewer,
    error::{self, ApiError},
    graphql::equip,
    http::{self, Asked, Prepared},
    limits::{
        BODY_BYTES_MAX, DEADLINE, INIT_WAIT, OPERATION_ID_BYTES_MAX, OPERATIONS_PER_SOCKET_MAX, SOCKET_BUFFER,
        SOCKET_PING_EVERY, SOCKET_SEND_WAIT, TOKEN_CHECK_EVERY,
    },
};

pub const PROTOCOL: &str = "graphql-transport-ws";

/// Upgrades to a WebSocket.
pub fn accept(upgrade: WebSocketUpgrade, api: Arc<Inner>, request_id: String) -> Response {
    upgrade
        .max_message_size(BODY_BYTES_MAX)
        .max_frame_size(BODY_BYTES_MAX)
        .protocols([PROTOCOL])
        .on_upgrade(move |socket| async move {
            let spoken = socket
                .protocol()
                .is_some_and(|protocol| protocol.as_bytes() == PROTOCOL.as_bytes());
            let mut session = Session::new(socket, api, request_id);
            let ended = if spoken {
                session.run().await
            } else {
                Err(Close::BadProtocol)
            };
            session.end(ended.err()).await;
        })
}

/// Why the server ends a connection, by the protocol's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Close {
    InvalidMessage(String),
    Unauthorized,
    Forbidden(String),
    BadProtocol,
    InitTimeout,
    Duplicate(String),
    TooManyInits,
    GoingAway,
    /// The client is gone, or takes nothing any more: there is nobody to tell.
    Gone,
}

impl Close {
    fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::InvalidMessage(what) => (4400, what),
            Self::Unauthorized => (4401, "Unauthorized".to_owned()),
            Self::Forbidden(why) => (4403, why),
            Self::BadProtocol => (4406, "Subprotocol not acceptable".to_owned()),
            Self::InitTimeout => (4408, "Connection initialisation timeout".to_owned()),
            Self::Duplicate(id) => (4409, format!("Subscriber for {id} already exists")),
            Self::TooManyInits => (4429, "Too many initialisation requests".to_owned()),
            Self::GoingAway => (1001, "Going away".to_owned()),
            Self::Gone => return None,
        };
        Some(CloseFrame {
            code,
            reason: Utf8Bytes::from(reason),
        })
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromClient {
    ConnectionInit { payload: Option<Value> },
    Subscribe { id: String, payload: Asked },
    Complete { id: String },
    Ping { payload: Option<Value> },
    Pong,
}

fn next(id: &str, response: &GraphResponse) -> String {
    json!({"id": id, "type": "next", "payload": response}).to_string()
}

fn failed(id: &str, response: &GraphResponse) -> String {
    json!({"id": id, "type": "error", "payload": response.errors}).to_string()
}

fn complete(id: &str) -> String {
    json!({"id": id, "type": "complete"}).to_string()
}

/// The token of `connection_init`, whichever way it is spelled.
fn token(payload: Option<&Value>) -> Option<String> {
    let payload = payload?.as_object()?;
    let found = payload
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    found.1.as_str().map(str::to_owned)
}

/// What an operation has to say: a message, and whether it is its last.
struct Said {
    operation: u64,
    id: String,
    text: String,
    last: bool,
}

struct Operation {
    number: u64,
    task: AbortHandle,
}

struct Session {
    socket: WebSocket,
    api: Arc<Inner>,
    request_id: String,
    /// The header value that let the viewer in.
    authorization: Option<String>,
    viewer: Option<Viewer>,
    operations: HashMap<String, Operation>,
    /// Numbers tell an operation from an earlier one of the same id.
    started: u64,
    out: mpsc::Sender<Said>,
    said: Option<mpsc::Receiver<Said>>,
}

impl Session {
    fn new(socket: WebSocket, api: Arc<Inner>, request_id: String) -> Self {
        let (out, said) = mpsc::channel(SOCKET_BUFFER);
        metrics::gauge!("tenure_graphql_sockets").increment(1.0);
        Self {
            socket,
            api,
            request_id,
            authorization: None,
            viewer: None,
            operations: HashMap::new(),
            started: 0,
            out,
            said: Some(said),
        }
    }

    async fn run(&mut self) -> Result<(), Close> {
        timeout(INIT_WAIT, self.initialise())
            .await
            .map_err(|_| Close::InitTimeout)??;
        let Some(mut said) = self.said.take() else {
            return Ok(());
        };
        let mut pings = interval(SOCKET_PING_EVERY);
        let mut checks = interval(TOKEN_CHECK_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.api.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Err(Close::GoingAway),
                received = self.socket.recv() => if let Some(message) = self.read(received)? {
                    self.handle(message).await?;
                },
                Some(said) = said.recv() => self.tell(said).await?,
                _ = pings.tick() => self.send(Message::Ping(Default::default())).await?,
                _ = checks.tick() => self.check_token().await?,
            }
        }
    }

    async fn initialise(&mut self) -> Result<(), Close> {
        loop {
            let received = self.socket.recv().await;
            match self.read(received)? {
                None => {}
                Some(FromClient::ConnectionInit { payload }) => {
                    self.authorization = token(payload.as_ref());
                    self.check_token().await?;
                    return self.send_text(json!({"type": "connection_ack"}).to_string()).await;
                }
                Some(FromClient::Ping { payload }) => self.pong(payload).await?,
                Some(FromClient::Pong | FromClient::Complete { .. }) => {}
                Some(FromClient::Subscribe { .. }) => return Err(Close::Unauthorized),
            }
        }
    }

    /// Lets the viewer in, or stay: tokens expire while connections are open.
    async fn check_token(&mut self) -> Result<(), Close> {
        match self.api.verifier.actor(self.authorization.as_deref()).await {
            Ok(actor) => {
                self.viewer = Some(Viewer(actor));
                Ok(())
            }
            // The identity provider being away is no reason to send away who was let in.
            Err(AuthError::NoKeys) if self.viewer.is_some() => Ok(()),
            Err(error) => Err(Close::Forbidden(error.to_string())),
        }
    }

    fn read(&self, received: Option<Result<Message, axum::Error>>) -> Result<Option<FromClient>, Close> {
        let text = match received {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(None),
            Some(Ok(Message::Binary(_))) => return Err(Close::InvalidMessage("messages are text".to_owned())),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Close::Gone),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| Close::InvalidMessage("not a message of graphql-transport-ws".to_owned()))
    }

    async fn handle(&mut self, message: FromClient) -> Result<(), Close> {
        match message {
            FromClient::ConnectionInit { .. } => Err(Close::TooManyInits),
            FromClient::Subscribe { id, payload } => self.start(id, payload).await,
            FromClient::Complete { id } => {
                if let Some(operation) = self.operations.remove(&id) {
                    operation.task.abort();
                }
                Ok(())
            }
            FromClient::Ping { payload } => self.pong(payload).await,
            FromClient::Pong => Ok(()),
        }
    }

    async fn start(&mut self, id: String, asked: Asked) -> Result<(), Close> {
        let Some(viewer) = self.viewer.clone() else {
            return Err(Close::Unauthorized);
        };
        if id.is_empty() || id.len() > OPERATION_ID_BYTES_MAX {
            return Err(Close::InvalidMessage(format!(
                "an id has between 1 and {OPERATION_ID_BYTES_MAX} bytes"
            )));
        }
        if self.operations.contains_key(&id) {
            return Err(Close::Duplicate(id.chars().take(40).collect()));
        }
        if self.operations.len() >= OPERATIONS_PER_SOCKET_MAX {
            let refused = error::mask(
                error::refusal(ApiError::bad_input(format!(
                    "a connection has {OPERATIONS_PER_SOCKET_MAX} operations at most"
                ))),
                &self.request_id,
            );
            return self.send_text(failed(&id, &refused)).await;
        }
        let prepared = match http::prepare(asked) {
            Ok(prepared) => prepared,
            Err(refused) => {
                return self
                    .send_text(failed(&id, &error::mask(refused.response, &self.request_id)))
                    .await;
            }
        };
        self.started += 1;
        let teller = Teller {
            operation: self.started,
            id: id.clone(),
            out: self.out.clone(),
            request_id: self.request_id.clone(),
        };
        let task = tokio::spawn(operate(Arc::clone(&self.api), prepared, viewer, teller)).abort_handle();
        self.operations.insert(
            id,
            Operation {
                number: self.started,
                task,
            },
        );
        Ok(())
    }

    /// Passes on what an operation says, unless the client has ended it.
    async fn tell(&mut self, said: Said) -> Result<(), Close> {
        if self
            .operations
            .get(&said.id)
            .is_none_or(|operation| operation.number != said.operation)
        {
            return Ok(());
        }
        if said.last {
            self.operations.remove(&said.id);
        }
        self.send_text(said.text).await
    }

    async fn pong(&mut self, payload: Option<Value>) -> Result<(), Close> {
        let pong = match payload {
            Some(payload) => json!({"type": "pong", "payload": payload}),
            None => json!({"type": "pong"}),
        };
        self.send_text(pong.to_string()).await
    }

    async fn send_text(&mut self, text: String) -> Result<(), Close> {
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Close> {
        match timeout(SOCKET_SEND_WAIT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Close::Gone),
        }
    }

    async fn end(mut self, close: Option<Close>) {
        if let Some(frame) = close.and_then(Close::frame) {
            self.send(Message::Close(Some(frame))).await.ok();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for operation in self.operations.values() {
            operation.task.abort();
        }
        metrics::gauge!("tenure_graphql_sockets").decrement(1.0);
    }
}

/// The voice of one operation.
struct Teller {
    operation: u64,
    id: String,
    out: mpsc::Sender<Said>,
    request_id: String,
}

impl Teller {
    /// False: nobody listens any more. Waits while the client is slow.
    async fn say(&self, text: String, last: bool) -> bool {
        self.out
            .send(Said {
                operation: self.operation,
                id: self.id.clone(),
                text,
                last,
            })
            .await
            .is_ok()
    }

    /// Says an answer; false when that was the end.
    async fn answer(&self, response: GraphResponse) -> bool {
        let response = error::mask(response, &self.request_id);
        if error::is_request_error(&response) {
            self.say(failed(&self.id, &response), true).await;
            return false;
        }
        self.say(next(&self.id, &response), false).await
    }
}

async fn operate(api: Arc<Inner>, prepared: Prepared, viewer: Viewer, teller: Teller) {
    let begun = Instant::now();
    let kind = prepared.kind();
    let schema = api
        .schemas
        .introspection
        .as_ref()
        .filter(|_| prepared.shape.introspects)
        .unwrap_or(&api.schemas.main);
    let subscribes = prepared.shape.subscribes;
    let request = equip(prepared.request, viewer, &api.store);
    if !subscribes {
        let response = timeout(DEADLINE, schema.execute(request))
            .await
            .unwrap_or_else(|_| error::refusal(ApiError::Deadline));
        let goes_on = teller.answer(response).await;
        http::observe(begun, kind, "ok");
        if goes_on {
            teller.say(complete(&teller.id), true).await;
        }
        return;
    }
    let mut responses = schema.execute_stream(request);
    while let Some(response) = responses.next().await {
        if !teller.answer(response).await {
            return;
        }
    }
    teller.say(complete(&teller.id), true).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_however_it_is_spelled() {
        for name in ["Authorization", "authorization"] {
            assert_eq!(token(Some(&json!({name: "Bearer x"}))).as_deref(), Some("Bearer x"));
        }
        assert_eq!(token(Some(&json!({"authorization": 7}))), None);
        assert_eq!(token(None), None);
    }

    #[test]
    fn messages_are_read_as_the_protocol_writes_them() {
        let read = |value: Value| serde_json::from_value::<FromClient>(value);
        assert!(matches!(
            read(json!({"type": "connection_init"})),
            Ok(FromClient::ConnectionInit { payload: None })
        ));
        assert!(matches!(
            read(json!({"type": "subscribe", "id": "1", "payload": {"query": "{ a }"}})),
            Ok(FromClient::Subscribe { .. })
        ));
        assert!(matches!(
            read(json!({"type": "complete", "id": "1"})),
            Ok(FromClient::Complete { .. })
        ));
        assert!(matches!(
            read(json!({"type": "pong", "payload": {}})),
            Ok(FromClient::Pong)
        ));
        assert!(
            read(json!({"type": "start", "id": "1", "payload": {}})).is_err(),
            "the older protocol"
        );
    }

    #[test]
    fn close_codes_are_the_protocol_s() {
        let code = |close: Close| close.frame().map(|frame| frame.code);
        assert_eq!(code(Close::Unauthorized), Some(4401));
        assert_eq!(code(Close::Forbidden("expired".into())), Some(4403));
        assert_eq!(code(Close::TooManyInits), Some(4429));
        assert_eq!(code(Close::Gone), None);
    }
}
