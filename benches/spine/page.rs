//! A page of 50 people with risk and factors: GraphQL beside a bare handler, same tables, same process, same clients.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use domain::policy::Role;
use infra::{auth::development_token, clock};
use secrecy::ExposeSecret;
use serde_json::Value;
use tenure::{
    config::development_secret,
    roles::{Loops, start_query_api},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    bare,
    report::{Row, median, tell},
    stage::{Site, pool},
};

const PEOPLE: i64 = 50;
const CLIENTS: usize = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// As many connections as the product's pool has (`infra::database`).
const CONNECTIONS: u32 = 24;

pub async fn run(site: &Site) -> Vec<Row> {
    let loops = Loops::new();
    let graphql = serve(start_query_api(&site.parts, &loops)).await;
    let peers = pool(site.url.expose_secret(), CONNECTIONS).await;
    let bare = serve(bare::page(peers.clone(), site.tenant, PEOPLE)).await;
    let (ask_graphql, ask_bare) = (graphql_request(site, graphql), bare_request(bare));
    assert_same_data(graphql, &ask_graphql, bare, &ask_bare).await;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        tell(&format!("page: round {round} of {ROUNDS}"));
        ours.push(throughput(graphql, &ask_graphql).await);
        theirs.push(throughput(bare, &ask_bare).await);
    }
    peers.close().await;
    loops.end().await;
    vec![
        Row::new("GraphQL page of 50 with risk and factors", median(ours), "pages/s")
            .beside("bare axum + sqlx handler", median(theirs))
            .at_least_times_the_peer(0.6),
    ]
}

pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn graphql_request(site: &Site, address: SocketAddr) -> Arc<[u8]> {
    request(site, address, &bare::graphql_request(PEOPLE))
}

/// A question to GraphQL, as HTTP.
pub fn request(site: &Site, address: SocketAddr, document: &Value) -> Arc<[u8]> {
    let token = development_token(
        &development_secret(&site.parts.master),
        site.tenant,
        Role::HrManager,
        None,
        clock::now(),
        Duration::from_secs(3_600),
    )
    .expect("a token");
    let body = document.to_string();
    let length = body.len();
    format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ntenure-purpose: a benchmark\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
    .into()
}

fn bare_request(address: SocketAddr) -> Arc<[u8]> {
    format!("GET /page HTTP/1.1\r\nhost: {address}\r\n\r\n")
        .into_bytes()
        .into()
}

/// Otherwise nothing is compared.
async fn assert_same_data(graphql: SocketAddr, ask_graphql: &[u8], bare: SocketAddr, ask_bare: &[u8]) {
    let (mut ours, mut theirs) = (Client::connect(graphql).await, Client::connect(bare).await);
    let ours: Value = serde_json::from_slice(ours.ask(ask_graphql).await).expect("JSON");
    let theirs: Value = serde_json::from_slice(theirs.ask(ask_bare).await).expect("JSON");
    let (ours, theirs) = (
        &ours["data"]["employees"]["edges"],
        &theirs["data"]["employees"]["edges"],
    );
    assert_eq!(ours.as_array().map(Vec::len), Some(PEOPLE as usize), "{ours:#}");
    for (ours, theirs) in ours
        .as_array()
        .into_iter()
        .flatten()
        .zip(theirs.as_array().expect("edges"))
    {
        for path in [
            "/node/id",
            "/node/displayName",
            "/node/risk/probability",
            "/node/risk/factors",
        ] {
            assert_eq!(ours.pointer(path), theirs.pointer(path), "{path}");
        }
    }
}

async fn throughput(address: SocketAddr, request: &Arc<[u8]>) -> f64 {
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let request = Arc::clone(request);
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut pages = 0_u64;
                while begun.elapsed() < ROUND {
                    client.ask(&request).await;
                    pages += 1;
                }
                pages
            })
        })
        .collect();
    let mut pages = 0;
    for client in clients {
        pages += client.await.expect("a client");
    }
    pages as f64 / begun.elapsed().as_secs_f64()
}

/// The least of an HTTP client: it shares the processors with what it measures.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            buffer: Vec::with_capacity(256 * 1024),
        }
    }

    /// Sends, and answers the body of the response, which must be 200 and say its length.
    pub async fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.expect("sent");
        self.buffer.clear();
        let body = loop {
            self.read().await;
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..body]).to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 200"),
            "{}",
            String::from_utf8_lossy(&self.buffer)
        );
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
            .expect("a length");
        while self.buffer.len() < body + length {
            self.read().await;
        }
        &self.buffer[body..]
    }

    async fn read(&mut self) {
        let count = self.stream.read_buf(&mut self.buffer).await.expect("received");
        assert!(count > 0, "the server closed the connection");
    }
}
