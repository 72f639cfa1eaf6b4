//! A stretch of the log as a Parquet file: one row per event, in order of position, every column of the table `event` under its own
//! name. Any reader of Parquet opens it; personal values in `data` are as sealed as they are in the database.
//!
//! Positions are gapless, so that an event's row follows from its position. Pages are small and have an index (Parquet's page
//! index), so that a few events of one stream are read without the rest.

use std::{
    fs::File,
    io::{BufReader, Read},
    ops::Range,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use domain::{
    Date, Kind, StreamId,
    id::{CommandId, EventId, TenantId},
};
use parquet::{
    basic::{Compression, ZstdLevel},
    column::reader::get_typed_column_reader,
    data_type::{
        BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
    },
    errors::{ParquetError, Result},
    file::{
        properties::{EnabledStatistics, WriterProperties},
        reader::{ChunkReader, FileReader as _, Length, RowGroupReader},
        serialized_reader::{ReadOptionsBuilder, SerializedFileReader},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};
use schemas::envelope::{Provenance, StoredEvent};
use uuid::Uuid;

/// Events of a row group: what a writer holds in memory.
const GROUP_EVENTS_MAX: usize = 32_768;
/// Events of a page: what is unpacked for the sake of one.
const PAGE_EVENTS_MAX: usize = 1_024;

/// The columns, in the order in which [`Writer::group`] writes them and [`Archive::rows`] reads them.
const COLUMNS: &str = "message event {
    required int64 position;
    required fixed_len_byte_array(16) tenant (UUID);
    required byte_array kind (STRING);
    required fixed_len_byte_array(16) stream_id (UUID);
    required int64 revision;
    required fixed_len_byte_array(16) event_id (UUID);
    required byte_array event_type (STRING);
    required int32 schema_version (INTEGER(16, true));
    required int32 effective_on (DATE);
    required int64 recorded_at (TIMESTAMP(MICROS, true));
    required byte_array actor (STRING);
    required fixed_len_byte_array(16) correlation_id (UUID);
    required fixed_len_byte_array(16) causation_id (UUID);
    required boolean backfill;
    optional byte_array traceparent (STRING);
    required byte_array data;
}";
const TENANT: usize = 1;
const KIND: usize = 2;

/// Writes a file that none may see until it is whole: the caller renames it then.
pub struct Writer {
    file: SerializedFileWriter<File>,
    waiting: Vec<StoredEvent>,
}

impl Writer {
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let columns = Arc::new(parse_message_type(COLUMNS)?);
        let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
        let mut properties = WriterProperties::builder()
            .set_compression(zstd)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_write_batch_size(PAGE_EVENTS_MAX)
            .set_data_page_row_count_limit(PAGE_EVENTS_MAX)
            // What is sealed looks like chance: nothing in it repeats.
            .set_column_compression(ColumnPath::from("data"), Compression::UNCOMPRESSED);
        for repeats in ["tenant", "kind", "event_type", "actor"] {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(repeats), true);
        }
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            file: SerializedFileWriter::new(file, columns, Arc::new(properties.build()))?,
            waiting: Vec::with_capacity(GROUP_EVENTS_MAX),
        })
    }

    /// Adds events, which follow those before.
    ///
    /// # Errors
    /// When the disk is full, or fails.
    pub fn add(&mut self, events: Vec<StoredEvent>) -> Result<()> {
        for event in events {
            self.waiting.push(event);
            if self.waiting.len() == GROUP_EVENTS_MAX {
                self.group()?;
            }
        }
        Ok(())
    }

    /// Ends the file; it is on the disk then.
    ///
    /// # Errors
    /// When the disk is full, or fails.
    pub fn finish(mut self) -> Result<()> {
        if !self.waiting.is_empty() {
            self.group()?;
        }
        self.file.finish()?;
        self.file.inner().sync_all()?;
        Ok(())
    }

    fn group(&mut self) -> Result<()> {
        let events = std::mem::take(&mut self.waiting);
        let mut group = self.file.next_row_group()?;
        let columns = &mut group;
        put::<Int64Type>(columns, events.iter().map(|event| event.position))?;
        put::<FixedLenByteArrayType>(columns, events.iter().map(|event| fixed(event.stream.tenant.uuid())))?;
        put::<ByteArrayType>(columns, events.iter().map(|event| text(event.stream.kind.name())))?;
        put::<FixedLenByteArrayType>(columns, events.iter().map(|event| fixed(event.stream.id)))?;
        put::<Int64Type>(columns, events.iter().map(|event| event.revision))?;
        put::<FixedLenByteArrayType>(columns, events.iter().map(|event| fixed(event.event_id.uuid())))?;
        put::<ByteArrayType>(columns, events.iter().map(|event| text(&event.event_type)))?;
        put::<Int32Type>(columns, events.iter().map(|event| i32::from(event.schema_version)))?;
        put::<Int32Type>(columns, events.iter().map(|event| days(event.effective_on)))?;
        put::<Int64Type>(columns, events.iter().map(|event| event.recorded_at.timestamp_micros()))?;
        put::<ByteArrayType>(columns, events.iter().map(|event| text(&event.provenance.actor)))?;
        put::<FixedLenByteArrayType>(columns, events.iter().map(|event| fixed(event.provenance.correlation)))?;
        put::<FixedLenByteArrayType>(
            columns,
            events.iter().map(|event| fixed(event.provenance.causation.uuid())),
        )?;
        put::<BoolType>(columns, events.iter().map(|event| event.provenance.backfill))?;
        let traced = events.iter().map(|event| event.provenance.traceparent.as_deref());
        let levels: Vec<i16> = traced.clone().map(|trace| i16::from(trace.is_some())).collect();
        write::<ByteArrayType>(columns, &traced.flatten().map(text).collect::<Vec<_>>(), Some(&levels))?;
        put::<ByteArrayType>(columns, events.iter().map(|event| ByteArray::from(event.data.clone())))?;
        group.close()?;
        Ok(())
    }
}

fn put<T: DataType>(group: &mut SerializedRowGroupWriter<'_, File>, values: impl Iterator<Item = T::T>) -> Result<()> {
    write::<T>(group, &values.collect::<Vec<_>>(), None)
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    let missing = || ParquetError::General("an event has no further column".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

fn fixed(id: Uuid) -> FixedLenByteArray {
    ByteArray::from(id.as_bytes().to_vec()).into()
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

fn days(day: Date) -> i32 {
    let days = day.signed_duration_since(Date::default()).num_days();
    i32::try_from(days).unwrap_or(i32::MAX) // the calendar of chrono is smaller
}

/// A file that is open for reading.
pub struct Archive {
    /// Positions of the first event, and after the last.
    events: Range<i64>,
    /// The positions of each row group.
    groups: Vec<Range<i64>>,
    reader: SerializedFileReader<Shared>,
}

impl Archive {
    /// Opens the file of the events from `first` to `last`.
    ///
    /// # Errors
    /// When it is not there, no Parquet, or of other events.
    pub fn open(path: &PathBuf, first: i64, last: i64) -> Result<Self> {
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader = SerializedFileReader::new_with_options(Shared(Arc::new(File::open(path)?)), options)?;
        let mut next = first;
        let mut groups = Vec::with_capacity(reader.metadata().num_row_groups());
        for group in reader.metadata().row_groups() {
            groups.push(next..next + group.num_rows());
            next += group.num_rows();
        }
        let is_ours = reader.metadata().file_metadata().schema() == &parse_message_type(COLUMNS)?;
        if !is_ours || next != last + 1 {
            return Err(ParquetError::General(
                "it does not hold the events that it should".to_owned(),
            ));
        }
        Ok(Self {
            events: first..next,
            groups,
            reader,
        })
    }

    /// The events after `position`, in order: at most `limit`.
    ///
    /// # Errors
    /// When the file does not read.
    pub fn after(&self, position: i64, limit: usize) -> Result<Vec<StoredEvent>> {
        let first = (position + 1).max(self.events.start);
        let end = first.saturating_add(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut events = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            let wanted = first.max(group.start)..end.min(group.end);
            if !wanted.is_empty() {
                let rows = row(wanted.start, group)..row(wanted.end, group);
                events.extend(self.rows(number, &[rows])?);
            }
        }
        Ok(events)
    }

    /// The events at `positions`, which rise.
    ///
    /// # Errors
    /// When the file does not read.
    pub fn at(&self, positions: &[i64]) -> Result<Vec<StoredEvent>> {
        let mut events = Vec::with_capacity(positions.len());
        for (number, group) in self.groups.iter().enumerate() {
            let from = positions.partition_point(|position| *position < group.start);
            let upto = positions.partition_point(|position| *position < group.end);
            if from < upto {
                let rows = positions[from..upto].iter().map(|position| row(*position, group));
                events.extend(self.rows(number, &runs(rows))?);
            }
        }
        Ok(events)
    }

    /// A tenant's events after `position`, of one kind or all, in order: at most `limit`.
    ///
    /// # Errors
    /// When the file does not read.
    pub fn of_tenant_after(
        &self,
        tenant: TenantId,
        kind: Option<Kind>,
        position: i64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>> {
        let tenant = tenant.uuid();
        let mut events = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            let rest = row((position + 1).max(group.start), group)..row(group.end, group);
            if rest.is_empty() || events.len() >= limit {
                continue;
            }
            let (first, all) = (rest.start, [rest]);
            let reader = self.reader.get_row_group(number)?;
            let tenants = column::<FixedLenByteArrayType>(&*reader, TENANT, &all)?;
            let mut is_wanted: Vec<bool> = tenants.iter().map(|found| found.data() == tenant.as_bytes()).collect();
            if let Some(kind) = kind {
                let kinds = column::<ByteArrayType>(&*reader, KIND, &all)?;
                for (is_wanted, found) in is_wanted.iter_mut().zip(&kinds) {
                    *is_wanted &= found.data() == kind.name().as_bytes();
                }
            }
            let wanted = is_wanted.iter().enumerate().filter(|(_, is_wanted)| **is_wanted);
            let wanted = wanted.map(|(row, _)| first + row).take(limit - events.len());
            let wanted = runs(wanted);
            if !wanted.is_empty() {
                events.extend(self.rows(number, &wanted)?);
            }
        }
        Ok(events)
    }

    /// Rows of a group as events.
    fn rows(&self, group: usize, rows: &[Range<usize>]) -> Result<Vec<StoredEvent>> {
        let reader = self.reader.get_row_group(group)?;
        let reader = &*reader;
        let longs = |index| column::<Int64Type>(reader, index, rows).map(Vec::into_iter);
        let ints = |index| column::<Int32Type>(reader, index, rows).map(Vec::into_iter);
        let ids = |index| column::<FixedLenByteArrayType>(reader, index, rows).map(Vec::into_iter);
        let bytes = |index| column::<ByteArrayType>(reader, index, rows).map(Vec::into_iter);
        let (mut positions, mut tenants, mut kinds, mut streams) = (longs(0)?, ids(TENANT)?, bytes(KIND)?, ids(3)?);
        let (mut revisions, mut event_ids, mut types) = (longs(4)?, ids(5)?, bytes(6)?);
        let (mut versions, mut effective, mut recorded) = (ints(7)?, ints(8)?, longs(9)?);
        let (mut actors, mut correlations, mut causations) = (bytes(10)?, ids(11)?, ids(12)?);
        let mut backfills = column::<BoolType>(reader, 13, rows)?.into_iter();
        let (levels, traces) = levelled::<ByteArrayType>(reader, 14, rows)?;
        let (mut levels, mut traces) = (levels.into_iter(), traces.into_iter());
        let mut data = bytes(15)?;
        let count = rows.iter().map(ExactSizeIterator::len).sum();
        (0..count)
            .map(|_| {
                let kind = word(kinds.next())?;
                let traceparent = match levels.next() {
                    Some(1) => Some(word(traces.next())?),
                    Some(_) | None => None,
                };
                Ok(StoredEvent {
                    position: some(positions.next())?,
                    stream: StreamId::new(
                        TenantId::from_uuid(id(tenants.next())?),
                        kind.parse().map_err(|_| unreadable("kind of stream"))?,
                        id(streams.next())?,
                    ),
                    revision: some(revisions.next())?,
                    event_id: EventId::from_uuid(id(event_ids.next())?),
                    event_type: word(types.next())?,
                    schema_version: i16::try_from(some(versions.next())?).map_err(|_| unreadable("schema version"))?,
                    effective_on: Date::default()
                        .checked_add_signed(chrono::Duration::days(some(effective.next())?.into()))
                        .ok_or_else(|| unreadable("day"))?,
                    recorded_at: chrono::DateTime::from_timestamp_micros(some(recorded.next())?)
                        .ok_or_else(|| unreadable("time"))?,
                    provenance: Provenance {
                        actor: word(actors.next())?,
                        correlation: id(correlations.next())?,
                        causation: CommandId::from_uuid(id(causations.next())?),
                        backfill: some(backfills.next())?,
                        traceparent,
                    },
                    data: some(data.next())?.data().to_vec(),
                })
            })
            .collect()
    }
}

/// A file that several threads read at once, each at places of its own. (Parquet's own reading of a `File` moves the one place that all
/// of its handles share.)
#[derive(Clone)]
struct Shared(Arc<File>);

impl Length for Shared {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for Shared {
    type T = BufReader<Tail>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(Tail {
            file: self.clone(),
            at: start,
        }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A file from a place on.
struct Tail {
    file: Shared,
    at: u64,
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.0.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The row of a position in its group.
fn row(position: i64, group: &Range<i64>) -> usize {
    usize::try_from(position.min(group.end) - group.start).unwrap_or(0)
}

/// Rising rows as stretches of neighbours.
fn runs(rows: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in rows {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            Some(_) | None => runs.push(row..row + 1),
        }
    }
    runs
}

fn column<T: DataType>(group: &dyn RowGroupReader, index: usize, rows: &[Range<usize>]) -> Result<Vec<T::T>> {
    levelled::<T>(group, index, rows).map(|(_, values)| values)
}

/// A column's values, with a level for each row where the column is optional: 1 for a value, 0 for none.
fn levelled<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
    rows: &[Range<usize>],
) -> Result<(Vec<i16>, Vec<T::T>)> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(index)?);
    let (mut levels, mut values, mut at) = (Vec::new(), Vec::new(), 0);
    for rows in rows {
        let skipped = reader.skip_records(rows.start - at)?;
        let (read, ..) = reader.read_records(rows.len(), Some(&mut levels), None, &mut values)?;
        if skipped != rows.start - at || read != rows.len() {
            return Err(unreadable("column"));
        }
        at = rows.end;
    }
    Ok((levels, values))
}

fn unreadable(what: &str) -> ParquetError {
    ParquetError::General(format!("a {what} does not read"))
}

fn some<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| unreadable("row"))
}

fn id(value: Option<FixedLenByteArray>) -> Result<Uuid> {
    Uuid::from_slice(some(value)?.data()).map_err(|_| unreadable("id"))
}

fn word(value: Option<ByteArray>) -> Result<String> {
    some(value)?.as_utf8().map(str::to_owned)
}
