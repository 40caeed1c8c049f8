use super::*;
use crate::fixtures::server;

#[test]
fn asks_where_the_url_points_unless_told() {
    for (asks, url, place) in [
        (None, "http://10.77.0.1:8081", "10.77.0.1:53"),
        (None, "https://dns.example.org/pdns", "dns.example.org:53"),
        (None, "http://[fd00::1]:8081", "[fd00::1]:53"),
        (Some("10.0.0.1:5300"), "http://x", "10.0.0.1:5300"),
        (Some("10.0.0.1"), "http://x", "10.0.0.1:53"),
        (Some("ns1.example.org"), "http://x", "ns1.example.org:53"),
        (Some("fd00::1"), "http://x", "[fd00::1]:53"),
        (Some("[fd00::1]:5300"), "http://x", "[fd00::1]:5300"),
    ] {
        let server = DnsServer { asks: asks.map(str::to_owned), ..server(url) };
        assert_eq!(place_of(&server), place);
    }
}

#[test]
fn takes_loopback_for_this_machine_only() {
    assert_eq!(seen_from_a_host(&"127.0.0.1:53".parse().unwrap()), None);
    assert_eq!(seen_from_a_host(&"[fd00::1]:53".parse().unwrap()), None);
    assert!(seen_from_a_host(&"10.0.0.1:53".parse().unwrap()).is_some());
}

#[tokio::test]
async fn says_so_when_nothing_answers() {
    // A bound port that is never read: UDP is silent, TCP refuses.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asks = Some(silent.local_addr().unwrap().to_string());
    let server = DnsServer { asks, ..server("http://x") };
    let error = NameServer::reach(&server, &Hosts::new()).await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn asks_over_tcp_where_udp_has_no_way() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asks = Some(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            let mut reply = Message::from_vec(&question).unwrap().into_response();
            assert!(!reply.metadata.recursion_desired);
            reply.metadata.authoritative = true;
            let name = reply.queries[0].name().clone();
            let data = RData::A(hickory_proto::rr::rdata::A::new(10, 77, 0, 100));
            reply.add_answer(hickory_proto::rr::Record::from_rdata(name, 60, data));
            let reply = reply.to_vec().unwrap();
            let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &reply].concat()).await.unwrap();
        }
    });
    let server = DnsServer { asks, ..server("http://x") };
    let server = NameServer::reach(&server, &Hosts::new()).await.unwrap();
    assert!(matches!(server.way, Way::Tcp(_)));
    let name = "web-0.home.example.org".parse().unwrap();
    let answer = server.ask(&name, RecordKind::A).await.unwrap();
    assert_eq!((answer.to_string().as_str(), answer.ttl), ("10.77.0.100", Some(60)));
}
