//! A stand-in for KurrentDB: a gRPC server in the test's process that speaks the part of its protocol that the client uses (append, batch append,
//! read, subscribe, the server's features, gossip), over a real socket.
//!
//! **It is not KurrentDB**, keeps everything in memory and knows only what is written down here: expected versions and what passes for a repeat,
//! `$all` with filters by prefix, subscriptions that are dropped, a leader that changes, nodes that die, answers that are lost. What a real server does is
//! found out with `EVENTSTORE_URL`.

#![expect(
    clippy::result_large_err,
    reason = "what goes wrong is a gRPC status, as tonic takes it"
)]

mod protocol;

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt, stream};
use infra::clock;
use secrecy::SecretString;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codec::ProstCodec,
    codegen::{BoxFuture, BoxStream, Service, http},
    metadata::MetadataMap,
    server::{ClientStreamingService, Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use uuid::Uuid;

use self::protocol::*;

/// As a server has it that was told nothing else.
const APPEND_BYTES_MAX: usize = 1024 * 1024;
/// What a record takes in the log besides its data: positions are places in a file.
const RECORD_BYTES: u64 = 64;

/// What becomes of the next append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// Nothing is written.
    Unavailable,
    /// It is written, but nobody is told.
    AnswerLost,
    /// Nothing is written, and it makes no sense to ask again.
    Denied,
    /// Nothing is written, and nobody is ever told.
    Silence,
}

/// A cluster of nodes that have the same log. Everything ends when it is dropped.
pub struct StandIn {
    cluster: Arc<Cluster>,
    nodes: Mutex<HashMap<u16, Runtime>>,
}

struct Cluster {
    log: Mutex<Log>,
    /// How many events there are.
    grown: watch::Sender<usize>,
    /// Ends the subscriptions that wait for more.
    dropped: watch::Sender<()>,
    leader: AtomicU16,
    ports: Mutex<Vec<u16>>,
    fates: Mutex<VecDeque<Fate>>,
    /// After how many events the next reads fail.
    cuts: Mutex<VecDeque<usize>>,
    /// So many of the next reads and subscriptions are never answered.
    silent_reads: AtomicU32,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

impl StandIn {
    /// One node, which leads.
    pub fn start() -> Self {
        let mut log = Log::default();
        // A real server's log is never empty, and not all in it is Tenure's.
        let name = Expected::Any(Empty {});
        log.append("$settings", name, vec![Proposed::default()])
            .expect("the first");
        let here = Self {
            cluster: Arc::new(Cluster {
                grown: watch::Sender::new(log.events.len()),
                dropped: watch::Sender::default(),
                log: Mutex::new(log),
                leader: AtomicU16::new(0),
                ports: Mutex::default(),
                fates: Mutex::default(),
                cuts: Mutex::default(),
                silent_reads: AtomicU32::new(0),
            }),
            nodes: Mutex::default(),
        };
        let port = here.add_node();
        here.lead(port);
        here
    }

    /// One more node, on a port of its own.
    pub fn add_node(&self) -> u16 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let node = Node {
            cluster: Arc::clone(&self.cluster),
            port,
        };
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            Server::builder()
                .add_service(Door::<STREAMS>(node.clone()))
                .add_service(Door::<FEATURES>(node.clone()))
                .add_service(Door::<GOSSIP>(node))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await
                .expect("a server");
        });
        locked(&self.cluster.ports).push(port);
        locked(&self.nodes).insert(port, runtime);
        port
    }

    /// Makes a node the leader; the others send whoever asks for the leader there.
    pub fn lead(&self, port: u16) {
        self.cluster.leader.store(port, Ordering::SeqCst);
    }

    pub fn leader(&self) -> u16 {
        self.cluster.leader.load(Ordering::SeqCst)
    }

    /// Ends a node with all its connections, as a crash would.
    pub fn kill(&self, port: u16) {
        locked(&self.cluster.ports).retain(|alive| *alive != port);
        let node = locked(&self.nodes).remove(&port);
        node.expect("a node").shutdown_background();
    }

    /// The address of some nodes.
    pub fn address_of(&self, ports: &[u16]) -> SecretString {
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("kurrentdb://{}?tls=false&discoveryInterval=1", hosts.join(",")).into()
    }

    pub fn address(&self) -> SecretString {
        self.address_of(&[self.leader()])
    }

    /// What becomes of the next appends, one after the other.
    pub fn next_appends(&self, fates: &[Fate]) {
        locked(&self.cluster.fates).extend(fates);
    }

    /// Whether all that was to become of appends has.
    pub fn has_no_more_fates(&self) -> bool {
        locked(&self.cluster.fates).is_empty()
    }

    /// The next reads and subscriptions fail after so many events each.
    pub fn cut_reads(&self, after: &[usize]) {
        locked(&self.cluster.cuts).extend(after);
    }

    /// The next reads and subscriptions are never answered.
    pub fn silence_reads(&self, count: u32) {
        self.cluster.silent_reads.store(count, Ordering::SeqCst);
    }

    pub fn has_no_more_cuts(&self) -> bool {
        locked(&self.cluster.cuts).is_empty()
    }

    /// Ends all subscriptions that have caught up.
    pub fn drop_subscriptions(&self) {
        self.cluster.dropped.send_replace(());
    }

    /// Changes an event behind everybody's back.
    pub fn tamper(&self, event_id: Uuid, data: &[u8]) {
        let mut log = locked(&self.cluster.log);
        let event = log.events.iter_mut().find(|event| event.id == event_id);
        event.expect("an event").data = data.to_vec();
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        for (_, node) in locked(&self.nodes).drain() {
            node.shutdown_background();
        }
    }
}

/// `$all`.
#[derive(Default)]
struct Log {
    events: Vec<Stored>,
    /// Where the events of each stream are in it.
    streams: HashMap<String, Vec<usize>>,
    end: u64,
}

#[derive(Clone)]
struct Stored {
    position: u64,
    stream: String,
    revision: u64,
    id: Uuid,
    metadata: HashMap<String, String>,
    custom_metadata: Vec<u8>,
    data: Vec<u8>,
}

impl Log {
    /// As KurrentDB decides it: at the stream's present end everything is new, whatever its id; further back, the events that are there
    /// already are a success, and others are not.
    fn append(
        &mut self,
        stream: &str,
        expected: Expected,
        messages: Vec<Proposed>,
    ) -> Result<Success, WrongExpectedVersion> {
        let there = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let at = match expected {
            Expected::Revision(last) => last as usize + 1,
            Expected::NoStream(_) => 0,
            Expected::Any(_) => there.len(),
            Expected::StreamExists(_) => there.len().max(1),
        };
        if at == there.len() {
            for message in messages {
                self.push(stream, message);
            }
        } else {
            let same = messages.iter().enumerate().all(|(n, message)| {
                there
                    .get(at + n)
                    .is_some_and(|index| self.events[*index].id == id_of(message))
            });
            if !same {
                return Err(wrong(there.len(), expected));
            }
            return Ok(self.success(there[at + messages.len() - 1]));
        }
        Ok(self.success(self.events.len() - 1))
    }

    fn push(&mut self, stream: &str, message: Proposed) {
        // Tenths of microseconds since 1970; a server's clock, which does not go back here.
        let now = clock::now().timestamp_micros() * 10 + 7;
        let id = id_of(&message);
        let mut metadata = message.metadata;
        metadata.insert("created".to_owned(), now.to_string());
        self.end += RECORD_BYTES + message.data.len() as u64;
        let indices = self.streams.entry(stream.to_owned()).or_default();
        self.events.push(Stored {
            position: self.end,
            stream: stream.to_owned(),
            revision: indices.len() as u64,
            id,
            metadata,
            custom_metadata: message.custom_metadata,
            data: message.data,
        });
        indices.push(self.events.len() - 1);
    }

    fn success(&self, last: usize) -> Success {
        let event = &self.events[last];
        Success {
            revision: Some(event.revision),
            position: Some(event.place()),
        }
    }
}

fn id_of(message: &Proposed) -> Uuid {
    message.id.as_ref().map_or(Uuid::nil(), Id::uuid)
}

fn wrong(events: usize, expected: Expected) -> WrongExpectedVersion {
    let empty = Empty {};
    WrongExpectedVersion {
        current: Some(match events.checked_sub(1) {
            Some(last) => Current::Revision(last as u64),
            None => Current::NoStream(empty),
        }),
        expected: Some(match expected {
            Expected::Revision(last) => WasExpected::Revision(last),
            Expected::NoStream(_) => WasExpected::NoStream(empty),
            Expected::Any(_) => WasExpected::Any(empty),
            Expected::StreamExists(_) => WasExpected::StreamExists(empty),
        }),
    }
}

impl Stored {
    fn place(&self) -> Position {
        Position {
            commit: self.position,
            prepare: self.position,
        }
    }

    fn said(&self) -> ReadResp {
        let event = RecordedEvent {
            id: Some(Id::new(self.id)),
            stream: Some(StreamName {
                name: self.stream.clone().into(),
            }),
            revision: self.revision,
            prepare: self.position,
            commit: self.position,
            metadata: self.metadata.clone(),
            custom_metadata: self.custom_metadata.clone(),
            data: self.data.clone(),
        };
        say(Content::Event(ReadEvent {
            event: Some(event),
            commit: Some(self.position),
        }))
    }

    fn passes(&self, filter: Option<&Filter>) -> bool {
        let Some(filter) = filter else { return true };
        let begins = |expression: &Option<Expression>, text: &str| {
            expression
                .as_ref()
                .is_none_or(|any| any.prefix.iter().any(|prefix| text.starts_with(prefix)))
        };
        let event_type = self.metadata.get("type").map_or("", String::as_str);
        begins(&filter.stream, &self.stream) && begins(&filter.event_type, event_type)
    }
}

fn say(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

#[derive(Clone)]
struct Node {
    cluster: Arc<Cluster>,
    port: u16,
}

impl Node {
    /// Whoever asks for the leader is told where it is.
    fn leads_if_asked(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let leader = self.cluster.leader.load(Ordering::SeqCst);
        if metadata.get("requires-leader").is_none_or(|asked| asked != "true") || leader == self.port {
            return Ok(());
        }
        let mut where_it_is = MetadataMap::new();
        where_it_is.insert("exception", "not-leader".parse().expect("a word"));
        where_it_is.insert("leader-endpoint-host", "127.0.0.1".parse().expect("a host"));
        where_it_is.insert("leader-endpoint-port", leader.to_string().parse().expect("a port"));
        Err(Status::with_metadata(
            Code::NotFound,
            "Leader info available",
            where_it_is,
        ))
    }

    fn append(
        &self,
        options: &AppendOptions,
        messages: Vec<Proposed>,
    ) -> Result<Result<Success, WrongExpectedVersion>, Status> {
        let fate = locked(&self.cluster.fates).pop_front().unwrap_or(Fate::Done);
        match fate {
            Fate::Unavailable => return Err(Status::unavailable("on purpose")),
            Fate::Denied => return Err(Status::permission_denied("on purpose")),
            Fate::Done | Fate::AnswerLost | Fate::Silence => {}
        }
        let bytes: usize = messages.iter().map(|message| message.data.len()).sum();
        if bytes > APPEND_BYTES_MAX {
            return Err(Status::invalid_argument("Maximum Append Size Exceeded"));
        }
        let stream = name_of(options.stream.as_ref())?;
        let expected = options
            .expected
            .ok_or(Status::invalid_argument("no expected version"))?;
        let mut log = locked(&self.cluster.log);
        let result = log.append(&stream, expected, messages);
        self.cluster.grown.send_replace(log.events.len());
        if fate == Fate::AnswerLost {
            return Err(Status::unavailable("written, on purpose"));
        }
        Ok(result)
    }

    /// Takes a silent fate for the append that would have it, and does not come back.
    async fn wait_if_silent(&self) {
        let is_silent = {
            let mut fates = locked(&self.cluster.fates);
            let is_silent = fates.front() == Some(&Fate::Silence);
            if is_silent {
                fates.pop_front();
            }
            is_silent
        };
        if is_silent {
            std::future::pending::<()>().await;
        }
    }

    /// What is there to answer a read, and then, for a subscription, whatever comes.
    async fn read(self, options: ReadOptions, mut out: Out) -> Result<(), Status> {
        let is_subscription = matches!(options.count, Some(Count::Subscription(_)));
        let filter = options.filter.as_ref();
        let spoken = filter.into_iter().flat_map(|f| [&f.stream, &f.event_type]).flatten();
        if spoken.into_iter().any(|expression| !expression.regex.is_empty()) {
            return Err(Status::unimplemented("filters by regular expression"));
        }
        if is_subscription {
            let subscription = clock::new_id().to_string();
            out.send(say(Content::Confirmation(Confirmation { subscription })))
                .await?;
        }
        // Whoever follows goes on here when those that are there now are told.
        let end = locked(&self.cluster.log).events.len();
        let events = match options.source.as_ref() {
            Some(Source::Stream(of)) => self.of_stream(of, options.direction == 1, &mut out).await?,
            Some(Source::All(of)) => self.of_all(of, options.direction == 1, is_subscription)?,
            None => return Err(Status::invalid_argument("neither a stream nor $all")),
        };
        match options.count {
            Some(Count::Count(most)) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let log = |index: usize| locked(&self.cluster.log).events[index].clone();
                for event in events.into_iter().map(log).filter(|e| e.passes(filter)).take(most) {
                    out.send(event.said()).await?;
                }
                Ok(())
            }
            Some(Count::Subscription(_)) => self.follow(events.first().copied().unwrap_or(end), filter, out).await,
            None => Err(Status::invalid_argument("neither a count nor a subscription")),
        }
    }

    /// Where the events of a stream are that were asked for.
    async fn of_stream(&self, of: &OfStream, backwards: bool, out: &mut Out) -> Result<Vec<usize>, Status> {
        let stream = name_of(of.stream.as_ref())?;
        let indices = locked(&self.cluster.log).streams.get(&stream).cloned();
        let Some(indices) = indices else {
            let stream = of.stream.clone();
            out.send(say(Content::StreamNotFound(StreamNotFound { stream })))
                .await?;
            return Ok(vec![]);
        };
        out.send(say(Content::LastStreamPosition(indices.len() as u64 - 1)))
            .await?;
        let from = of.revision.unwrap_or(if backwards { u64::MAX } else { 0 });
        let asked = indices.into_iter().zip(0_u64..);
        Ok(if backwards {
            let mut asked: Vec<usize> = asked.filter(|(_, n)| *n <= from).map(|(index, _)| index).collect();
            asked.reverse();
            asked
        } else {
            asked.filter(|(_, n)| *n >= from).map(|(index, _)| index).collect()
        })
    }

    /// A read begins with the event at its position, a subscription with the one after it.
    fn of_all(&self, of: &OfAll, backwards: bool, is_subscription: bool) -> Result<Vec<usize>, Status> {
        let log = locked(&self.cluster.log);
        let all = 0..log.events.len();
        Ok(match of.from {
            Some(From::Start(_)) => all.collect(),
            Some(From::End(_)) if backwards => all.rev().collect(),
            Some(From::End(_)) => vec![],
            Some(From::Position(at)) if !backwards => all
                .filter(|index| {
                    let position = log.events[*index].position;
                    position > at.commit || (position == at.commit && !is_subscription)
                })
                .collect(),
            Some(From::Position(_)) | None => return Err(Status::unimplemented("that way of reading $all")),
        })
    }

    async fn follow(&self, mut next: usize, filter: Option<&Filter>, mut out: Out) -> Result<(), Status> {
        let mut grown = self.cluster.grown.subscribe();
        let mut dropped = self.cluster.dropped.subscribe();
        let mut is_live = false;
        loop {
            let event = locked(&self.cluster.log).events.get(next).cloned();
            match event {
                Some(event) => {
                    next += 1;
                    if event.passes(filter) {
                        out.send(event.said()).await?;
                    } else {
                        out.send(say(Content::Checkpoint(event.place()))).await?;
                    }
                }
                None => {
                    if !is_live {
                        is_live = true;
                        out.send(say(Content::CaughtUp(Empty {}))).await?;
                    }
                    tokio::select! {
                        more = grown.wait_for(|count| *count > next) => {
                            more.map_err(|_| Status::unavailable("the server ends"))?;
                        }
                        _ = dropped.changed() => return Err(Status::unavailable("dropped, on purpose")),
                    }
                }
            }
        }
    }
}

fn name_of(stream: Option<&StreamName>) -> Result<String, Status> {
    let name = stream.map(|stream| stream.name.clone()).unwrap_or_default();
    String::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty())
        .ok_or(Status::invalid_argument("no name of a stream"))
}

/// Where a read's answers go, until it is cut.
struct Out {
    sender: mpsc::Sender<Result<ReadResp, Status>>,
    /// So many events may still go.
    left: Option<usize>,
}

impl Out {
    async fn send(&mut self, said: ReadResp) -> Result<(), Status> {
        if let (Some(left), Some(Content::Event(_))) = (&mut self.left, &said.content) {
            *left = left.checked_sub(1).ok_or(Status::unavailable("dropped, on purpose"))?;
        }
        let gone = |_| Status::cancelled("nobody listens");
        self.sender.send(Ok(said)).await.map_err(gone)
    }
}

// --- the doors: what tonic would be generated for

const STREAMS: u8 = 0;
const FEATURES: u8 = 1;
const GOSSIP: u8 = 2;

#[derive(Clone)]
struct Door<const PART: u8>(Node);

impl NamedService for Door<STREAMS> {
    const NAME: &'static str = "event_store.client.streams.Streams";
}

impl NamedService for Door<FEATURES> {
    const NAME: &'static str = "event_store.client.server_features.ServerFeatures";
}

impl NamedService for Door<GOSSIP> {
    const NAME: &'static str = "event_store.client.gossip.Gossip";
}

impl<const PART: u8> Service<http::Request<tonic::body::Body>> for Door<PART> {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let method = path.rsplit('/').next().unwrap_or_default();
            Ok(match (PART, method) {
                (STREAMS, "Read") => {
                    let codec = ProstCodec::<ReadResp, ReadReq>::default();
                    Grpc::new(codec).server_streaming(Read(node), request).await
                }
                (STREAMS, "Append") => {
                    let codec = ProstCodec::<AppendResp, AppendReq>::default();
                    Grpc::new(codec).client_streaming(AppendCall(node), request).await
                }
                (STREAMS, "BatchAppend") => {
                    let codec = ProstCodec::<BatchAppendResp, BatchAppendReq>::default();
                    Grpc::new(codec).streaming(BatchAppend(node), request).await
                }
                (FEATURES, "GetSupportedMethods") => {
                    let codec = ProstCodec::<SupportedMethods, Empty>::default();
                    Grpc::new(codec).unary(Features, request).await
                }
                (GOSSIP, "Read") => {
                    let codec = ProstCodec::<ClusterInfo, Empty>::default();
                    Grpc::new(codec).unary(Gossip(node), request).await
                }
                _ => Status::unimplemented(path).into_http(),
            })
        })
    }
}

struct Read(Node);

impl ServerStreamingService<ReadReq> for Read {
    type Response = ReadResp;
    type ResponseStream = BoxStream<ReadResp>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<ReadReq>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            node.leads_if_asked(request.metadata())?;
            if node
                .cluster
                .silent_reads
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
            {
                std::future::pending::<()>().await;
            }
            let options = request
                .into_inner()
                .options
                .ok_or(Status::invalid_argument("no options"))?;
            let (sender, mut said) = mpsc::channel(16);
            let out = Out {
                sender: sender.clone(),
                left: locked(&node.cluster.cuts).pop_front(),
            };
            tokio::spawn(async move {
                if let Err(status) = node.read(options, out).await {
                    sender.send(Err(status)).await.ok(); // whoever asked may be gone
                }
            });
            let said: BoxStream<ReadResp> = Box::pin(stream::poll_fn(move |context| said.poll_recv(context)));
            Ok(Response::new(said))
        })
    }
}

struct AppendCall(Node);

impl ClientStreamingService<AppendReq> for AppendCall {
    type Response = AppendResp;
    type Future = BoxFuture<Response<AppendResp>, Status>;

    fn call(&mut self, request: Request<Streaming<AppendReq>>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            node.leads_if_asked(request.metadata())?;
            let mut said = request.into_inner();
            let (mut options, mut messages) = (None, Vec::new());
            while let Some(next) = said.message().await? {
                match next.content {
                    Some(Appending::Options(first)) => options = Some(first),
                    Some(Appending::Message(message)) => messages.push(message),
                    None => return Err(Status::invalid_argument("an empty message")),
                }
            }
            let options = options.ok_or(Status::invalid_argument("no options"))?;
            node.wait_if_silent().await;
            let result = Some(match node.append(&options, messages)? {
                Ok(success) => AppendResult::Success(success),
                Err(wrong) => AppendResult::WrongExpectedVersion(wrong),
            });
            Ok(Response::new(AppendResp { result }))
        })
    }
}

struct BatchAppend(Node);

impl StreamingService<BatchAppendReq> for BatchAppend {
    type Response = BatchAppendResp;
    type ResponseStream = BoxStream<BatchAppendResp>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<BatchAppendReq>>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            node.leads_if_asked(request.metadata())?;
            let answers = batches(request.into_inner()).map(move |batch| node.append_batch(batch?));
            Ok(Response::new(Box::pin(answers) as BoxStream<BatchAppendResp>))
        })
    }
}

/// The requests of a session, each with all its messages.
fn batches(said: Streaming<BatchAppendReq>) -> impl Stream<Item = Result<BatchAppendReq, Status>> {
    stream::unfold(said, |mut said| async move {
        let mut whole: Option<BatchAppendReq> = None;
        loop {
            match said.message().await {
                Ok(Some(mut part)) => {
                    let is_final = part.is_final;
                    match &mut whole {
                        Some(whole) => whole.messages.append(&mut part.messages),
                        None => whole = Some(part),
                    }
                    if is_final {
                        return Some((Ok(whole?), said));
                    }
                }
                Ok(None) => return None,
                Err(status) => return Some((Err(status), said)),
            }
        }
    })
}

impl Node {
    fn append_batch(&self, batch: BatchAppendReq) -> Result<BatchAppendResp, Status> {
        let options = batch.options.ok_or(Status::invalid_argument("no options"))?;
        let result = match self.append(&options, batch.messages)? {
            Ok(success) => BatchResult::Success(success),
            Err(_) => BatchResult::Error(RpcStatus {
                code: Code::Unknown as i32,
                message: "WrongExpectedVersion".to_owned(),
            }),
        };
        Ok(BatchAppendResp {
            correlation: batch.correlation,
            result: Some(result),
            stream: options.stream,
        })
    }
}

struct Features;

impl UnaryService<Empty> for Features {
    type Response = SupportedMethods;
    type Future = BoxFuture<Response<SupportedMethods>, Status>;

    fn call(&mut self, _: Request<Empty>) -> Self::Future {
        let batch_append = SupportedMethod {
            method: "batchappend".to_owned(),
            service: "event_store.client.streams.streams".to_owned(),
        };
        let supported = SupportedMethods {
            methods: vec![batch_append],
            version: "26.0.0".to_owned(),
        };
        Box::pin(async move { Ok(Response::new(supported)) })
    }
}

struct Gossip(Node);

impl UnaryService<Empty> for Gossip {
    type Response = ClusterInfo;
    type Future = BoxFuture<Response<ClusterInfo>, Status>;

    fn call(&mut self, _: Request<Empty>) -> Self::Future {
        /// As numbered in the protocol.
        const FOLLOWER: i32 = 6;
        const LEADER: i32 = 8;
        let cluster = &self.0.cluster;
        let leader = cluster.leader.load(Ordering::SeqCst);
        let member = |port: &u16| Member {
            id: Some(Id::new(Uuid::from_u128((*port).into()))),
            state: if *port == leader { LEADER } else { FOLLOWER },
            is_alive: true,
            endpoint: Some(Endpoint {
                address: "127.0.0.1".to_owned(),
                port: (*port).into(),
            }),
        };
        let members = locked(&cluster.ports).iter().map(member).collect();
        Box::pin(async move { Ok(Response::new(ClusterInfo { members })) })
    }
}
