//! Producing and fetching, so that a record is delivered when it arrives.
//!
//! tansu-storage 0.6.0's own fetch looks once, sleeps for all of the client's `fetch.wait.max.ms`, and then answers what it saw
//! before: each hop would take 75 ms on average. It also reads each record's headers with a statement of their own, and answers an
//! offset past the end as if nothing had come yet. This one answers at once when there is something, and otherwise waits until
//! something is produced; and what was produced a moment ago it takes from memory, as nearly all consumers read at the end.

use std::{
    collections::{HashMap, VecDeque},
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
    produce_request::TopicProduceData,
    record::deflated::{Batch, Frame},
};
use tansu_service::{FrameRequestLayer, FrameRouteBuilder};
use tansu_storage::{Error, ProduceService, Storage, Topition};
use tokio::{sync::watch, time::Instant};

use crate::broker::RECORD_BYTES_MAX;

/// Bytes that one partition adds to an answer, if its next record is no larger. The engine adds up the sizes of everything from
/// the offset on to find out where to stop, so that small answers would make a long backlog slow.
const PARTITION_BYTES: u32 = 1024 * 1024;
/// Room for one record of any size, with its key.
const ONE_RECORD_BYTES: u32 = 2 * RECORD_BYTES_MAX as u32;

/// Bytes of one answer, after which no more partitions are added to it.
const ANSWER_BYTES_MAX: usize = 2 * PARTITION_BYTES as usize;
/// Bytes that are kept in memory of each partition's end.
const RECENT_BYTES_MAX: usize = PARTITION_BYTES as usize;

/// What was produced lately, and the bell that tells waiting fetches.
#[derive(Clone, Debug)]
pub struct Arrivals {
    bell: watch::Sender<()>,
    recent: Arc<Mutex<HashMap<(String, i32), Recent>>>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            bell: watch::Sender::new(()),
            recent: Arc::default(),
        }
    }
}

/// The end of a partition: batches without a gap.
#[derive(Debug, Default)]
struct Recent {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// The offset of the next record.
    end: i64,
}

impl Recent {
    /// Keeps a batch that the storage has. Two producers' batches may come here in another order than they were stored: what
    /// is not next begins anew, or is left to the storage.
    fn add(&mut self, batch: Batch) {
        if batch.base_offset < self.end {
            return;
        }
        if batch.base_offset > self.end {
            self.batches.clear();
            self.bytes = 0;
        }
        self.end = past(&batch);
        self.bytes += batch.record_data.len();
        self.batches.push_back(batch);
        while self.bytes > RECENT_BYTES_MAX
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.record_data.len();
        }
    }

    /// What there is from `offset` on; nothing if that is longer ago. The first batch may begin before `offset`: clients skip.
    fn from(&self, offset: i64) -> Option<Vec<Batch>> {
        let first = self.batches.partition_point(|batch| past(batch) <= offset);
        if offset == self.end {
            return Some(Vec::new());
        }
        let oldest = self.batches.get(first)?;
        (oldest.base_offset <= offset).then(|| self.batches.range(first..).cloned().collect())
    }
}

fn past(batch: &Batch) -> i64 {
    batch.base_offset + i64::from(batch.last_offset_delta) + 1
}

impl Arrivals {
    /// Remembers what was stored, and rings.
    fn note(&self, sent: Vec<TopicProduceData>, answer: &ProduceResponse) {
        let stored: HashMap<(&str, i32), i64> = (answer.responses.iter().flatten())
            .flat_map(|topic| {
                topic
                    .partition_responses
                    .iter()
                    .flatten()
                    .map(|p| (topic.name.as_str(), p))
            })
            .filter(|(_, partition)| partition.error_code == i16::from(ErrorCode::None))
            .map(|(topic, partition)| ((topic, partition.index), partition.base_offset))
            .collect();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in sent {
            for partition in topic.partition_data.into_iter().flatten() {
                let place = (topic.name.clone(), partition.index);
                let base_offset = stored.get(&(topic.name.as_str(), partition.index));
                let mut batches = partition.records.map(|frame| frame.batches).unwrap_or_default();
                match (base_offset, batches.pop()) {
                    (Some(base_offset), Some(batch)) if batches.is_empty() => {
                        recent.entry(place).or_default().add(Batch {
                            base_offset: *base_offset,
                            ..batch
                        });
                    }
                    // Perhaps it was stored all the same, and of several batches only the first's place is told: memory must not
                    // say that this partition ends where it did before.
                    _ => drop(recent.remove(&place)),
                }
            }
        }
        drop(recent);
        self.bell.send_replace(());
    }

    /// What memory has of a partition from `offset` on, and its end.
    fn from(&self, topic: &str, partition: i32, offset: i64) -> Option<(Vec<Batch>, i64)> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = recent.get(&(topic.to_owned(), partition))?;
        Some((partition.from(offset)?, partition.end))
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
        let sent = request.topic_data.clone().unwrap_or_default();
        let doubt = Doubt {
            arrivals: &self.arrivals,
            sent,
        };
        let answer = ProduceService.serve(context, request).await?;
        doubt.resolve(&answer);
        Ok(answer)
    }
}

/// What is being stored. When that fails, or is cut off with its connection, the storage may have it or not: memory forgets
/// where these partitions end, so that no consumer waits at an old end for what is there.
struct Doubt<'a> {
    arrivals: &'a Arrivals,
    sent: Vec<TopicProduceData>,
}

impl Doubt<'_> {
    fn resolve(mut self, answer: &ProduceResponse) {
        self.arrivals.note(std::mem::take(&mut self.sent), answer);
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.sent.is_empty() {
            self.arrivals
                .note(std::mem::take(&mut self.sent), &ProduceResponse::default());
        }
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
        let mut arrivals = self.arrivals.bell.subscribe();
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
        let (mut responses, mut is_news, mut bytes) = (Vec::with_capacity(topics.len()), false, 0);
        for topic in topics {
            let name = self.name(storage, topic).await?;
            let mut partitions = Vec::new();
            for wanted in topic.partitions.as_deref().unwrap_or_default() {
                let partition = match &name {
                    // Clients begin with another partition each time.
                    Some(_) if bytes > ANSWER_BYTES_MAX => continue,
                    Some(name) => self.partition(storage, name, wanted, isolation).await?,
                    None => empty(wanted.partition).error_code(ErrorCode::UnknownTopicOrPartition.into()),
                };
                bytes += size(&partition);
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

    async fn partition<G: Storage>(
        &self,
        storage: &G,
        topic: &str,
        wanted: &FetchPartition,
        isolation: IsolationLevel,
    ) -> Result<PartitionData, Error> {
        let (from, answer) = (wanted.fetch_offset, empty(wanted.partition));
        let with = |answer: PartitionData, batches: Vec<Batch>| {
            answer.records((!batches.is_empty()).then_some(Frame { batches }))
        };
        if let Some((batches, end)) = self.arrivals.from(topic, wanted.partition, from) {
            let answer = answer.high_watermark(end).last_stable_offset(Some(end));
            return Ok(with(answer, batches));
        }
        let place = Topition::new(topic, wanted.partition);
        let stage = storage.offset_stage(&place).await?;
        let end = stage.high_watermark();
        let answer = answer
            .high_watermark(end)
            .last_stable_offset(Some(stage.last_stable()))
            .log_start_offset(Some(stage.log_start()));
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
        Ok(with(answer, batches))
    }
}

fn size(partition: &PartitionData) -> usize {
    let batches = partition.records.iter().flat_map(|frame| &frame.batches);
    batches.map(|batch| batch.record_data.len()).sum()
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

#[cfg(test)]
mod tests {
    use tansu_sans_io::{
        produce_request::PartitionProduceData,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    };

    use super::*;

    fn batch(base_offset: i64, records: i32, bytes: usize) -> Batch {
        Batch {
            base_offset,
            last_offset_delta: records - 1,
            record_data: vec![0; bytes].into(),
            ..Batch::default()
        }
    }

    fn offsets(batches: Option<Vec<Batch>>) -> Option<Vec<i64>> {
        batches.map(|batches| batches.iter().map(|batch| batch.base_offset).collect())
    }

    #[test]
    fn what_was_produced_lately_is_read_from_the_batch_that_holds_the_offset() {
        let mut recent = Recent::default();
        for (base, records) in [(100, 5), (105, 1), (106, 4)] {
            recent.add(batch(base, records, 10));
        }
        assert_eq!(offsets(recent.from(99)), None, "longer ago: the storage has it");
        assert_eq!(offsets(recent.from(100)), Some(vec![100, 105, 106]));
        assert_eq!(offsets(recent.from(104)), Some(vec![100, 105, 106]));
        assert_eq!(offsets(recent.from(105)), Some(vec![105, 106]));
        assert_eq!(offsets(recent.from(110)), Some(vec![]), "the end");
        assert_eq!(offsets(recent.from(111)), None, "past the end: the storage says so");
    }

    #[test]
    fn a_gap_is_never_jumped_over() {
        let mut recent = Recent::default();
        recent.add(batch(0, 3, 10));
        // Another producer's batch 3..5 was stored first and comes second.
        recent.add(batch(5, 2, 10));
        recent.add(batch(3, 2, 10));
        assert_eq!(offsets(recent.from(3)), None);
        assert_eq!(offsets(recent.from(5)), Some(vec![5]));
        recent.add(batch(7, 1, 10));
        assert_eq!(offsets(recent.from(5)), Some(vec![5, 7]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for base in 0..100 {
            recent.add(batch(base, 1, RECENT_BYTES_MAX / 10));
        }
        assert_eq!(offsets(recent.from(90)), Some((90..100).collect()));
        assert_eq!(offsets(recent.from(89)), None);
        recent.add(batch(100, 1, RECENT_BYTES_MAX + 1));
        assert_eq!((recent.batches.len(), recent.bytes), (0, 0));
        assert_eq!(offsets(recent.from(101)), Some(vec![]));
    }

    fn sent(batches: Vec<Batch>) -> Vec<TopicProduceData> {
        let partition = PartitionProduceData::default()
            .index(0)
            .records(Some(Frame { batches }));
        vec![
            TopicProduceData::default()
                .name("t".to_owned())
                .partition_data(Some(vec![partition])),
        ]
    }

    fn stored(base_offset: i64, error: ErrorCode) -> ProduceResponse {
        let partition = PartitionProduceResponse::default()
            .index(0)
            .base_offset(base_offset)
            .error_code(error.into());
        let topic = TopicProduceResponse::default()
            .name("t".to_owned())
            .partition_responses(Some(vec![partition]));
        ProduceResponse::default().responses(Some(vec![topic]))
    }

    #[test]
    fn an_end_that_is_in_doubt_is_forgotten() {
        let arrivals = Arrivals::default();
        let end = || arrivals.from("t", 0, 6).map(|(_, end)| end);
        let keep = || {
            arrivals.note(sent(vec![batch(0, 2, 10)]), &stored(4, ErrorCode::None));
            assert_eq!(end(), Some(6));
        };

        keep();
        arrivals.note(sent(vec![batch(0, 1, 10)]), &stored(-1, ErrorCode::UnknownServerError));
        assert_eq!(end(), None, "refused");

        keep();
        let two = vec![batch(0, 1, 10), batch(0, 1, 10)];
        arrivals.note(sent(two), &stored(6, ErrorCode::None));
        assert_eq!(end(), None, "several batches");

        keep();
        drop(Doubt {
            arrivals: &arrivals,
            sent: sent(vec![batch(0, 1, 10)]),
        });
        assert_eq!(end(), None, "cut off");

        keep();
        let doubt = Doubt {
            arrivals: &arrivals,
            sent: sent(vec![batch(0, 1, 10)]),
        };
        doubt.resolve(&stored(6, ErrorCode::None));
        assert_eq!(end(), Some(7), "stored");
    }
}
