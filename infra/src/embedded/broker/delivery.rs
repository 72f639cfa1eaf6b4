//! Producing and fetching, so that a record is delivered when it arrives.
//!
//! tansu-storage 0.6.0's own fetch looks once, sleeps for all of the client's `fetch.wait.max.ms`, and then answers what it saw
//! before: each hop would take 75 ms on average. It also asks for the topic's metadata and each partition's watermarks twice, and
//! answers an offset past the end as if nothing had come yet. This one answers at once when there is something, and otherwise
//! waits until something is produced.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rama::{
    Context, Layer as _, Service,
    layer::{MapErrLayer, MapStateLayer},
};
use tansu_broker::Error as BrokerError;
use tansu_sans_io::{
    ApiKey as _, ErrorCode, FetchRequest, FetchResponse, IsolationLevel, ProduceRequest, ProduceResponse,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::{EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData, SnapshotId},
    record::deflated::Frame,
};
use tansu_service::{FrameRequestLayer, FrameRouteBuilder};
use tansu_storage::{Error, ProduceService, Storage, Topition};
use tokio::{sync::watch, time::Instant};

use crate::broker::RECORD_BYTES_MAX;

/// Bytes that one partition adds to an answer, if its next record is no larger. The engine adds up the sizes of everything from
/// the offset on to find out where to stop, so that small answers would make a long backlog slow.
const PARTITION_BYTES: u32 = 2 * 1024 * 1024;
/// Room for one record of any size, with its key.
const ONE_RECORD_BYTES: u32 = 2 * RECORD_BYTES_MAX as u32;

/// Tells waiting fetches that something was produced.
#[derive(Clone, Debug)]
pub struct Arrivals(watch::Sender<()>);

impl Default for Arrivals {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

type Routes = FrameRouteBuilder<(), BrokerError>;

pub fn produce(routes: Routes, storage: impl Storage, arrivals: Arrivals) -> Result<Routes, BrokerError> {
    let layers = (
        MapErrLayer::new(BrokerError::from),
        MapStateLayer::new(|_| storage),
        FrameRequestLayer::<ProduceRequest>::new(),
    );
    Ok(routes.with_route(ProduceRequest::KEY, layers.into_layer(Produce { arrivals }).boxed())?)
}

pub fn fetch(routes: Routes, storage: impl Storage, arrivals: Arrivals) -> Result<Routes, BrokerError> {
    let layers = (
        MapErrLayer::new(BrokerError::from),
        MapStateLayer::new(|_| storage),
        FrameRequestLayer::<FetchRequest>::new(),
    );
    let service = Fetch {
        arrivals,
        names: Arc::default(),
    };
    Ok(routes.with_route(FetchRequest::KEY, layers.into_layer(service).boxed())?)
}

#[derive(Debug)]
struct Produce {
    arrivals: Arrivals,
}

impl<G: Storage> Service<G, ProduceRequest> for Produce {
    type Response = ProduceResponse;
    type Error = Error;

    async fn serve(&self, context: Context<G>, request: ProduceRequest) -> Result<ProduceResponse, Error> {
        let answer = ProduceService.serve(context, request).await;
        self.arrivals.0.send_replace(());
        answer
    }
}

#[derive(Debug)]
struct Fetch {
    arrivals: Arrivals,
    /// Topics' names by id: newer clients name topics by id.
    names: Arc<Mutex<HashMap<[u8; 16], String>>>,
}

impl<G: Storage> Service<G, FetchRequest> for Fetch {
    type Response = FetchResponse;
    type Error = Error;

    async fn serve(&self, context: Context<G>, request: FetchRequest) -> Result<FetchResponse, Error> {
        let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let isolation = request
            .isolation_level
            .map_or(Ok(IsolationLevel::ReadUncommitted), IsolationLevel::try_from)?;
        let topics = request.topics.unwrap_or_default();
        let mut arrivals = self.arrivals.0.subscribe();
        let responses = loop {
            arrivals.mark_unchanged();
            let (responses, is_news) = self.look(context.state(), &topics, isolation).await?;
            if is_news || tokio::time::timeout_at(deadline, arrivals.changed()).await.is_err() {
                break responses;
            }
        };
        Ok(FetchResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(Some(ErrorCode::None.into()))
            .session_id(Some(0))
            .node_endpoints(Some([].into()))
            .responses(Some(responses)))
    }
}

impl Fetch {
    /// What there is now, and whether it is worth an answer.
    async fn look<G: Storage>(
        &self,
        storage: &G,
        topics: &[FetchTopic],
        isolation: IsolationLevel,
    ) -> Result<(Vec<FetchableTopicResponse>, bool), Error> {
        let (mut responses, mut is_news) = (Vec::with_capacity(topics.len()), false);
        for topic in topics {
            let name = self.name(storage, topic).await?;
            let mut partitions = Vec::new();
            for wanted in topic.partitions.as_deref().unwrap_or_default() {
                let partition = match &name {
                    Some(name) => partition(storage, name, wanted, isolation).await?,
                    None => empty(wanted.partition).error_code(ErrorCode::UnknownTopicOrPartition.into()),
                };
                is_news |= partition.records.is_some() || partition.error_code != i16::from(ErrorCode::None);
                partitions.push(partition);
            }
            responses.push(
                FetchableTopicResponse::default()
                    .topic(topic.topic.clone())
                    .topic_id(topic.topic_id)
                    .partitions(Some(partitions)),
            );
        }
        Ok((responses, is_news))
    }

    async fn name<G: Storage>(&self, storage: &G, topic: &FetchTopic) -> Result<Option<String>, Error> {
        if topic.topic.is_some() {
            return Ok(topic.topic.clone());
        }
        let Some(id) = topic.topic_id else { return Ok(None) };
        if let Some(name) = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Some(name.clone()));
        }
        let metadata = storage.metadata(Some(&[topic.into()])).await?;
        let name = metadata.topics().first().and_then(|found| found.name.clone());
        if let Some(name) = &name {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(id, name.clone());
        }
        Ok(name)
    }
}

async fn partition<G: Storage>(
    storage: &G,
    topic: &str,
    wanted: &FetchPartition,
    isolation: IsolationLevel,
) -> Result<PartitionData, Error> {
    let place = Topition::new(topic, wanted.partition);
    let stage = storage.offset_stage(&place).await?;
    let answer = empty(wanted.partition)
        .high_watermark(stage.high_watermark())
        .last_stable_offset(Some(stage.last_stable()))
        .log_start_offset(Some(stage.log_start()));
    let (from, end) = (wanted.fetch_offset, stage.high_watermark());
    if from > end || from < stage.log_start() {
        return Ok(answer.error_code(ErrorCode::OffsetOutOfRange.into()));
    }
    if from == end {
        return Ok(answer);
    }
    let mut batches = storage.fetch(&place, from, 1, PARTITION_BYTES, isolation).await?;
    if batches.iter().all(|batch| batch.record_count == 0) {
        batches = storage.fetch(&place, from, 1, ONE_RECORD_BYTES, isolation).await?;
    }
    Ok(answer.records((!batches.is_empty()).then_some(Frame { batches })))
}

fn empty(partition: i32) -> PartitionData {
    PartitionData::default()
        .partition_index(partition)
        .error_code(ErrorCode::None.into())
        .high_watermark(0)
        .last_stable_offset(Some(0))
        .log_start_offset(Some(0))
        .diverging_epoch(Some(EpochEndOffset::default().epoch(-1).end_offset(-1)))
        .current_leader(Some(LeaderIdAndEpoch::default().leader_id(0).leader_epoch(0)))
        .snapshot_id(Some(SnapshotId::default().end_offset(-1).epoch(-1)))
        .aborted_transactions(Some([].into()))
        .preferred_read_replica(Some(-1))
        .records(None)
}
