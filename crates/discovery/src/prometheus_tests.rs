use freehold_core::model::EditKey;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    file::{Content, compare},
    fixtures::{inventory, vm, zones},
    groups::wanted,
};

fn group(address: &str) -> (EditKey, TargetGroup) {
    let inventory = inventory(&[vm("web-0", &[address], &[("node", 9100)])]);
    wanted(&inventory, &zones()).0.into_iter().next().unwrap()
}

/// The edit that leads from one address to another.
fn edit(old: Option<&str>, new: Option<&str>) -> Edit {
    let content: Content =
        old.map(group).into_iter().map(|(key, group)| (key, vec![group])).collect();
    let wanted = new.map(group).into_iter().collect();
    compare("prometheus main", &content, &wanted).0.remove(0)
}

fn scraped(address: &str) -> Target {
    let mut discovered_labels = group(address).1.labels;
    discovered_labels.insert("__address__".to_owned(), format!("{address}:9100"));
    discovered_labels.insert("__scheme__".to_owned(), "http".to_owned());
    Target { discovered_labels }
}

#[test]
fn sees_what_is_scraped_and_what_is_not() {
    let add = [edit(None, Some("10.77.0.100"))];
    assert!(unshown(&add, &[scraped("10.77.0.100")]).is_empty());
    assert_eq!(unshown(&add, &[scraped("10.77.0.9")]).len(), 1);
    // Somebody else's target of the same address does not count.
    let labels = BTreeMap::from([("__address__".to_owned(), "10.77.0.100:9100".to_owned())]);
    assert_eq!(unshown(&add, &[Target { discovered_labels: labels }]).len(), 1);

    let remove = [edit(Some("10.77.0.100"), None)];
    assert!(unshown(&remove, &[]).is_empty());
    let stays = unshown(&remove, &[scraped("10.77.0.100")]);
    assert_eq!(stays.first().unwrap(), "- target web-0:9100 node (it is still there)");
}

fn prometheus(url: &str, beside: Option<&str>) -> Prometheus {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Prometheus::new(url, beside.map(|name| name.parse().unwrap())).unwrap()
}

#[test]
fn refuses_an_address_that_is_none() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    for url in ["", "10.77.0.1:9090", "ftp://x", "http://"] {
        assert!(matches!(Prometheus::new(url, None), Err(PrometheusError::Address(_))), "{url}");
    }
}

#[tokio::test]
async fn does_not_take_this_machines_localhost_for_a_hosts() {
    let hosts = Hosts::new();
    assert_eq!(prometheus("http://127.0.0.1:9090", None).ways(&hosts).await.len(), 1);
    assert!(prometheus("http://127.0.0.1:9090", Some("rack1")).ways(&hosts).await.is_empty());
    assert_eq!(prometheus("http://10.0.0.1:9090", Some("rack1")).ways(&hosts).await.len(), 1);
}

/// Answers each connection with these bytes; returns the address.
async fn answering(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            assert!(request.starts_with("get /sub/api/v1/targets?state=active http/1.1"));
            assert!(request.contains("host: 127.0.0.1:"), "{request}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn asks_the_same_from_here_and_through_a_stream() {
    let body = r#"{"status":"success","data":{"activeTargets":[{"discoveredLabels":
        {"__address__":"10.0.0.1:9100"},"scrapePool":"x"}],"droppedTargets":[]}}"#;
    let address = answering(http("200 OK", body)).await;
    let prometheus = prometheus(&format!("http://{address}/sub/"), None);
    assert_eq!(prometheus.targets(&Way::Here).await.unwrap().len(), 1);
    let stream = TcpStream::connect(&address).await.unwrap();
    assert_eq!(prometheus.get_over(Box::new(stream)).await.unwrap(), body.as_bytes());
}

#[tokio::test]
async fn tells_what_is_no_prometheus() {
    for (answer, kind) in [
        (http("200 OK", "<html></html>"), PluginErrorKind::Refused),
        (http("404 Not Found", "no"), PluginErrorKind::Refused),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned(), PluginErrorKind::Unreachable),
    ] {
        let address = answering(answer).await;
        let prometheus = prometheus(&format!("http://{address}/sub"), None);
        assert_eq!(prometheus.targets(&Way::Here).await.unwrap_err().kind(), kind);
    }
}
