//! Asking a name server over DNS: from here, or through a host that reaches it.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use freehold_core::{
    host::{Host, HostError, Stream},
    model::{DnsServer, DnsServerKind, DomainName, RecordKind},
    plugins::Hosts,
};
use futures::StreamExt;
use hickory_net::{
    DnsHandle, NetError, runtime::TokioRuntimeProvider, udp::UdpClientStream, xfer::DnsExchange,
};
use hickory_proto::{
    ProtoError,
    op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const UDP_PATIENCE: Duration = Duration::from_secs(1);
const TCP_PATIENCE: Duration = Duration::from_secs(3);
/// The resolver of this machine waits much longer for name servers that are down.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
/// A host may have to open an SSH channel first.
const HOST_PATIENCE: Duration = Duration::from_secs(5);
const DNS_PORT: u16 = 53;

/// Why a name server could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The server's name or address means nothing here.
    #[error("cannot find `{0}`")]
    Resolve(String, #[source] std::io::Error),
    /// Neither this machine nor any host got an answer from it.
    #[error("`{0}` answers DNS neither to this machine nor to any host")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer")]
    Silent,
    /// The connection failed.
    #[error("the connection failed")]
    Connection(#[source] std::io::Error),
    /// The UDP exchange failed.
    #[error("the exchange failed")]
    Exchange(#[source] NetError),
    /// The host could not open a connection to it.
    #[error("the way through a host failed")]
    Through(#[source] HostError),
    /// What came is no answer to what was asked.
    #[error("the answer makes no sense")]
    Garbled(#[source] ProtoError),
}

/// What a name server answered about one name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Contents of the records: addresses, names without the final dot; else as DNS writes them.
    pub values: BTreeSet<String>,
    /// Their time to live.
    pub ttl: Option<u32>,
    /// Whether the server speaks for the zone itself.
    pub authoritative: bool,
    /// What it says beside: `No Error`, `Non-Existent Domain`, `Query Refused`.
    pub code: String,
    /// Whether there certainly is no such record.
    pub absent: bool,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values.is_empty() {
            f.write_str(if self.absent { "no such record" } else { &self.code })?;
        } else {
            f.write_str(&self.values.iter().map(String::as_str).collect::<Vec<_>>().join(" "))?;
        }
        if !self.authoritative {
            f.write_str(" (not authoritative)")?;
        }
        Ok(())
    }
}

/// A name server we found a way to.
#[derive(Debug)]
pub struct NameServer {
    way: Way,
}

enum Way {
    Udp(SocketAddr, DnsExchange<TokioRuntimeProvider>),
    Tcp(SocketAddr),
    Through(Arc<dyn Host>, Ipv4Addr, u16),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address, _) => write!(f, "udp {address}"),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Through(host, address, port) => {
                write!(f, "{address}:{port} through {}", host.name())
            }
        }
    }
}

impl NameServer {
    /// Finds a way to a server: UDP, TCP, then TCP through each host.
    pub async fn reach(server: &DnsServer, hosts: &Hosts) -> Result<Self, AskError> {
        let place = place_of(server);
        let looked = timeout(LOOKUP_PATIENCE, tokio::net::lookup_host(&place)).await;
        let late = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let addresses: Vec<SocketAddr> = looked
            .unwrap_or_else(late)
            .map_err(|error| AskError::Resolve(place.clone(), error))?
            .collect();
        for address in &addresses {
            let ways = [Way::Udp(*address, udp_exchange(*address)), Way::Tcp(*address)];
            for way in ways {
                if way.answers().await {
                    return Ok(Self { way });
                }
            }
        }
        let inner: Vec<_> = addresses.iter().filter_map(seen_from_a_host).collect();
        for host in hosts.values() {
            for (address, port) in &inner {
                let way = Way::Through(Arc::clone(host), *address, *port);
                if way.answers().await {
                    return Ok(Self { way });
                }
            }
        }
        Err(AskError::Unreachable(place))
    }

    /// Asks for one rrset, without recursion.
    pub async fn ask(&self, name: &DomainName, kind: RecordKind) -> Result<Answer, AskError> {
        let kind = match kind {
            RecordKind::A => RecordType::A,
            RecordKind::Ptr => RecordType::PTR,
        };
        self.ask_type(name, kind).await
    }

    pub(crate) async fn ask_type(
        &self,
        name: &DomainName,
        kind: RecordType,
    ) -> Result<Answer, AskError> {
        let owner = Name::from_ascii(name.fqdn()).map_err(AskError::Garbled)?;
        let query = Query::query(owner, kind);
        let message = self.way.exchange(query.clone()).await?;
        Ok(answer(&message, &query))
    }
}

/// Returns `host:port` where the server answers DNS.
fn place_of(server: &DnsServer) -> String {
    if let Some(asks) = &server.asks {
        let bare = asks.parse::<IpAddr>().is_ok();
        let text = if bare && asks.contains(':') { format!("[{asks}]") } else { asks.clone() };
        let has_port =
            !bare && asks.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        return if has_port { text } else { format!("{text}:{DNS_PORT}") };
    }
    let DnsServerKind::PowerDns { url, .. } = &server.kind;
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    format!("{}:{DNS_PORT}", host.unwrap_or_default())
}

/// Returns an address as a host may dial it; its own loopback is another machine's.
fn seen_from_a_host(address: &SocketAddr) -> Option<(Ipv4Addr, u16)> {
    match address {
        SocketAddr::V4(v4) if !v4.ip().is_loopback() => Some((*v4.ip(), v4.port())),
        _ => None,
    }
}

fn udp_exchange(address: SocketAddr) -> DnsExchange<TokioRuntimeProvider> {
    UdpClientStream::builder(address, TokioRuntimeProvider::new())
        .with_timeout(Some(UDP_PATIENCE))
        .exchange()
}

fn options() -> DnsRequestOptions {
    let mut options = DnsRequestOptions::default();
    options.recursion_desired = false;
    options
}

impl Way {
    /// Says whether anything at all comes back.
    async fn answers(&self) -> bool {
        let query = Query::query(Name::root(), RecordType::SOA);
        match self.exchange(query).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(way = ?self, %error, "no way to the name server");
                false
            }
        }
    }

    async fn exchange(&self, query: Query) -> Result<Message, AskError> {
        match self {
            Self::Udp(address, exchange) => {
                let mut answers = exchange.lookup(query.clone(), options());
                let reply = timeout(UDP_PATIENCE, answers.next()).await;
                let reply = reply.ok().flatten().ok_or(AskError::Silent)?;
                let reply = reply.map_err(AskError::Exchange)?;
                if reply.metadata.truncation {
                    return over_tcp(*address, query).await;
                }
                Ok(reply.into_message())
            }
            Self::Tcp(address) => over_tcp(*address, query).await,
            Self::Through(host, address, port) => {
                let talk = async {
                    let dialled = host.dial(*address, *port).await;
                    framed(dialled.map_err(AskError::Through)?, query).await
                };
                timeout(HOST_PATIENCE, talk).await.unwrap_or(Err(AskError::Silent))
            }
        }
    }
}

async fn over_tcp(address: SocketAddr, query: Query) -> Result<Message, AskError> {
    let talk = async {
        let stream = TcpStream::connect(address).await.map_err(AskError::Connection)?;
        framed(Box::new(stream), query).await
    };
    timeout(TCP_PATIENCE, talk).await.unwrap_or(Err(AskError::Silent))
}

/// Asks over a stream: each message has its length before it (RFC 1035 §4.2.2).
async fn framed(mut stream: Box<dyn Stream>, query: Query) -> Result<Message, AskError> {
    let (request, _) = DnsRequest::from_query(query, options()).into_parts();
    let bytes = request.to_vec().map_err(AskError::Garbled)?;
    let too_long = |_| AskError::Garbled(ProtoError::from("the question is too long"));
    let length = u16::try_from(bytes.len()).map_err(too_long)?;
    let frame = [&length.to_be_bytes()[..], &bytes].concat();
    stream.write_all(&frame).await.map_err(AskError::Connection)?;
    let length = stream.read_u16().await.map_err(AskError::Connection)?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await.map_err(AskError::Connection)?;
    let reply = Message::from_vec(&reply)
        .map_err(|error| AskError::Garbled(ProtoError::from(error.to_string())))?;
    if reply.metadata.id != request.metadata.id || reply.queries != request.queries {
        return Err(AskError::Garbled(ProtoError::from("it answers another question")));
    }
    Ok(reply)
}

fn answer(message: &Message, query: &Query) -> Answer {
    let records =
        || message.answers.iter().filter(|record| record.record_type() == query.query_type());
    let code = message.metadata.response_code;
    let settled = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
    let values: BTreeSet<_> = records().map(|record| value_of(&record.data)).collect();
    Answer {
        absent: settled && message.metadata.authoritative && message.answers.is_empty(),
        ttl: records().map(|record| record.ttl).min(),
        authoritative: message.metadata.authoritative,
        code: code.to_string(),
        values,
    }
}

fn value_of(data: &RData) -> String {
    match data {
        RData::PTR(name) => name.0.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
