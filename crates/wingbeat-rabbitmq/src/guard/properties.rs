//! The payload of a content header (AMQP 0-9-1, section 4.2.6.1): checks it, and repairs it.

/// The prefix of headers that the guard adds. Headers of publishers with this prefix are a fault.
pub(crate) const RESERVED: &str = "x-wingbeat-";
/// The header with the problem: its reason, a colon, and a description.
pub(crate) const FAULT: &str = "x-wingbeat-fault";
/// The header with the number of bytes of a body that was cut off.
pub(crate) const BODY_SIZE: &str = "x-wingbeat-body-size";
/// The header with the first bytes of properties that cannot be read.
pub(crate) const RAW_PROPERTIES: &str = "x-wingbeat-properties";

/// The deepest table or array that is passed on. The client parses them recursively.
const DEPTH_MAX: u32 = 16;
/// The largest number of CloudEvents attributes of a message, counted with both prefixes.
const ATTRIBUTES_MAX: usize = 32;
/// The bytes that stay of a long value, and of the properties, of a content header with a fault.
const KEPT: usize = 1 << 10;

/// The bytes before the flags: class, weight, size of the body.
const FIXED: usize = 12;

/// The form of a property.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Table,
    Octet,
    Time,
}

/// The properties of the class `basic`, in the order of their flags from the highest bit.
const PROPERTIES: [(&str, Form); 14] = [
    ("content_type", Form::Text),
    ("content_encoding", Form::Text),
    ("headers", Form::Table),
    ("delivery_mode", Form::Octet),
    ("priority", Form::Octet),
    ("correlation_id", Form::Text),
    ("reply_to", Form::Text),
    ("expiration", Form::Text),
    ("message_id", Form::Text),
    ("timestamp", Form::Time),
    ("type", Form::Text),
    ("user_id", Form::Text),
    ("app_id", Form::Text),
    ("cluster_id", Form::Text),
];

/// The facts about a message that its content header does not contain.
pub(super) struct Extra {
    /// The size of the frame, if it is too long.
    pub(super) too_long: Option<usize>,
    /// The size of the body, if it is too large.
    pub(super) too_large: Option<u64>,
    /// The size of the body that is passed on.
    pub(super) passed: u64,
}

/// Unread bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1).map(|it| it[0])
    }

    fn short(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    /// Reads a text with its length in one byte.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.octet()?;
        self.take(usize::from(length))
    }

    /// Reads bytes with their length in four bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let bytes = self.take(4)?.try_into().ok()?;
        self.take(u32::from_be_bytes(bytes) as usize)
    }

    /// Reads a header: name and value, the value with its type.
    fn header(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let name = self.text()?;
        let value = self.0;
        self.value()?;
        Some((name, &value[..value.len() - self.0.len()]))
    }

    /// Reads a value without looking into tables and arrays. Returns their content.
    fn value(&mut self) -> Option<Nested<'a>> {
        let fixed = match self.octet()? {
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'l' | b'L' | b'd' | b'T' => 8,
            b'D' => 5,
            b'V' => 0,
            b'S' | b'x' => return self.long().map(|_| Nested::Nothing),
            b'F' => return self.long().map(Nested::Table),
            b'A' => return self.long().map(Nested::Array),
            _ => return None,
        };
        self.take(fixed).map(|_| Nested::Nothing)
    }
}

enum Nested<'a> {
    Nothing,
    Table(&'a [u8]),
    Array(&'a [u8]),
}

/// Returns the problem of a value, if the client cannot parse it.
fn value_fault(value: &[u8], depth: u32) -> Option<&'static str> {
    let mut reader = Reader(value);
    let Some(nested) = reader.value() else {
        return Some("has an unknown type");
    };
    if depth >= DEPTH_MAX && !matches!(nested, Nested::Nothing) {
        return Some("is nested too deeply");
    }
    match nested {
        Nested::Nothing => None,
        Nested::Table(content) => {
            let mut reader = Reader(content);
            while !reader.0.is_empty() {
                let Some((name, value)) = reader.header() else {
                    return Some("contains an unknown type");
                };
                if std::str::from_utf8(name).is_err() {
                    return Some("contains a name that is not UTF-8");
                }
                if let Some(fault) = value_fault(value, depth + 1) {
                    return Some(fault);
                }
            }
            None
        }
        Nested::Array(content) => {
            let mut rest = Reader(content);
            while !rest.0.is_empty() {
                let all = rest.0;
                if rest.value().is_none() {
                    return Some("contains an unknown type");
                }
                let value = &all[..all.len() - rest.0.len()];
                if let Some(fault) = value_fault(value, depth + 1) {
                    return Some(fault);
                }
            }
            None
        }
    }
}

/// Returns the name of a CloudEvents attribute without its prefix.
fn attribute(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(b"cloudEvents:")
        .or_else(|| name.strip_prefix(b"cloudEvents_"))
}

/// The attributes that a message has.
#[derive(Default)]
struct Attributes<'a> {
    names: [&'a [u8]; ATTRIBUTES_MAX],
    count: usize,
}

impl<'a> Attributes<'a> {
    /// Returns the problem of a header, if its name is not UTF-8, reserved, or the second of an
    /// attribute.
    fn fault(&mut self, name: &'a [u8]) -> Option<&'static str> {
        if std::str::from_utf8(name).is_err() {
            return Some("has a name that is not UTF-8");
        }
        if name.starts_with(RESERVED.as_bytes()) {
            return Some("is reserved");
        }
        let attribute = attribute(name)?;
        if self.names[..self.count].contains(&attribute) {
            return Some("is set twice");
        }
        let Some(free) = self.names.get_mut(self.count) else {
            return Some("is one attribute too many");
        };
        *free = attribute;
        self.count += 1;
        None
    }
}

/// Returns whether the client can parse a content header, and the message means one thing.
pub(super) fn is_readable(payload: &[u8]) -> bool {
    read(payload).is_some()
}

fn read(payload: &[u8]) -> Option<()> {
    let mut reader = Reader(payload.get(FIXED..)?);
    let flags = reader.short()?;
    for (at, (_, form)) in PROPERTIES.iter().enumerate() {
        if flags & (1 << (15 - at)) == 0 {
            continue;
        }
        match form {
            Form::Text => drop(std::str::from_utf8(reader.text()?).ok()?),
            Form::Octet => drop(reader.octet()?),
            Form::Time => drop(reader.take(8)?),
            Form::Table => {
                let mut headers = Reader(reader.long()?);
                let mut attributes = Attributes::default();
                while !headers.0.is_empty() {
                    let (name, value) = headers.header()?;
                    if attributes.fault(name).is_some() || value_fault(value, 0).is_some() {
                        return None;
                    }
                }
            }
        }
    }
    (flags & 0b11 == 0 && reader.0.is_empty()).then_some(())
}

/// A content header that is built again.
struct Repaired {
    /// The properties that stay, each by its position.
    fields: [Option<Vec<u8>>; PROPERTIES.len()],
    /// Headers that stay.
    headers: Vec<u8>,
    faults: Vec<String>,
}

/// Builds a content header that the client can parse, of at most `size_max` bytes.
pub(super) fn repair(payload: &[u8], extra: &Extra, size_max: usize) -> Vec<u8> {
    let mut repaired = Repaired {
        fields: Default::default(),
        headers: Vec::new(),
        faults: Vec::new(),
    };
    if let Some(size) = extra.too_long {
        repaired.faults.push(format!(
            "too_large: the properties and headers have {size} bytes"
        ));
    }
    let properties = payload.get(FIXED..).unwrap_or_default();
    // The other properties, and the headers that are added.
    let headers_max = size_max.saturating_sub(10 * 256 + 3 * KEPT);
    if repaired.salvage(properties, headers_max).is_none() {
        let text = "undecodable: the properties cannot be parsed".to_owned();
        repaired.faults.push(text);
    }
    if !repaired.faults.is_empty() {
        let kept = &properties[..properties.len().min(KEPT)];
        put(&mut repaired.headers, RAW_PROPERTIES, b'x', kept);
        let mut text = repaired.faults[0].clone();
        text.truncate(text.floor_char_boundary(KEPT));
        put(&mut repaired.headers, FAULT, b'S', text.as_bytes());
    }
    if let Some(size) = extra.too_large {
        put(
            &mut repaired.headers,
            BODY_SIZE,
            b'S',
            size.to_string().as_bytes(),
        );
    }
    repaired.payload(&payload[..2.min(payload.len())], extra.passed)
}

impl Repaired {
    /// Takes over what the client can parse.
    fn salvage(&mut self, properties: &[u8], headers_max: usize) -> Option<()> {
        let mut reader = Reader(properties);
        let flags = reader.short()?;
        for (at, (name, form)) in PROPERTIES.iter().enumerate() {
            if flags & (1 << (15 - at)) == 0 {
                continue;
            }
            match form {
                Form::Text => {
                    let text = reader.text()?;
                    if std::str::from_utf8(text).is_ok() {
                        let mut field = vec![u8::try_from(text.len()).ok()?];
                        field.extend_from_slice(text);
                        self.fields[at] = Some(field);
                    } else {
                        self.faults
                            .push(format!("undecodable: the property `{name}` is not UTF-8"));
                    }
                }
                Form::Octet => self.fields[at] = Some(vec![reader.octet()?]),
                Form::Time => self.fields[at] = Some(reader.take(8)?.to_vec()),
                Form::Table => {
                    let length = reader.take(4)?.try_into().ok()?;
                    let length = u32::from_be_bytes(length) as usize;
                    let cut_off = length > reader.0.len();
                    self.salvage_headers(reader.take(length.min(reader.0.len()))?, headers_max);
                    if cut_off {
                        return None;
                    }
                }
            }
        }
        (flags & 0b11 == 0).then_some(())
    }

    fn salvage_headers(&mut self, table: &[u8], headers_max: usize) {
        let mut reader = Reader(table);
        let mut attributes = Attributes::default();
        while !reader.0.is_empty() {
            let Some((name, value)) = reader.header() else {
                let text = "undecodable: a header has an unknown type".to_owned();
                self.faults.push(text);
                return;
            };
            let fault = attributes.fault(name).or_else(|| value_fault(value, 0));
            if let Some(fault) = fault {
                let name = wingbeat_core::text::printable(&String::from_utf8_lossy(name), 255);
                self.faults
                    .push(format!("undecodable: the header `{name}` {fault}"));
                continue;
            }
            let mut header = vec![u8::try_from(name.len()).unwrap_or(u8::MAX)];
            header.extend_from_slice(name);
            let text = value.strip_prefix(b"S").and_then(|text| text.get(4..));
            match text {
                // The first bytes of a long text. The dead letter has all that stays.
                Some(text) if text.len() > KEPT && self.is_too_long() => {
                    header.push(b'S');
                    put_long(&mut header, &text[..KEPT]);
                }
                _ => header.extend_from_slice(value),
            }
            if self.headers.len() + header.len() <= headers_max {
                self.headers.append(&mut header);
            }
        }
    }

    fn is_too_long(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| fault.starts_with("too_large"))
    }

    fn payload(self, class: &[u8], body_size: u64) -> Vec<u8> {
        let mut flags = 0_u16;
        let mut rest = Vec::new();
        for (at, field) in self.fields.iter().enumerate() {
            if PROPERTIES[at].1 == Form::Table && !self.headers.is_empty() {
                flags |= 1 << (15 - at);
                put_long(&mut rest, &self.headers);
            } else if let Some(field) = field {
                flags |= 1 << (15 - at);
                rest.extend_from_slice(field);
            }
        }
        let mut payload = class.to_vec();
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(&body_size.to_be_bytes());
        payload.extend_from_slice(&flags.to_be_bytes());
        payload.append(&mut rest);
        payload
    }
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Adds a header with a text or bytes.
fn put(headers: &mut Vec<u8>, name: &str, kind: u8, value: &[u8]) {
    headers.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    headers.extend_from_slice(name.as_bytes());
    headers.push(kind);
    put_long(headers, value);
}
