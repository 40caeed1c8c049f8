//! A web server of one test alone, which misbehaves as it is told and remembers what it was asked.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// What is answered to a path.
#[derive(Debug, Clone)]
pub struct Page {
    /// The file.
    pub body: Arc<Vec<u8>>,
    /// `200 OK`, unless it is told otherwise.
    pub status: String,
    /// Lines of its head, besides those about its length.
    pub head: Vec<String>,
    /// What names this version; a `Range` with another `If-Range` gets the whole.
    pub etag: Option<String>,
    /// Whether parts can be asked for.
    pub ranges: bool,
    /// What `Content-Length` says.
    pub length: Length,
    /// After how many bytes of an answer the connection ends, once for each.
    pub cuts: Vec<usize>,
    /// How many bytes a second.
    pub pace: Option<usize>,
}

/// What `Content-Length` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The truth.
    True,
    /// Nothing.
    Absent,
    /// Something else.
    Lie(u64),
}

impl Page {
    /// A file as a good server gives it.
    pub fn of(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Arc::new(body.into()),
            status: "200 OK".to_owned(),
            head: Vec::new(),
            etag: None,
            ranges: true,
            length: Length::True,
            cuts: Vec::new(),
            pace: None,
        }
    }

    /// An answer that leads elsewhere.
    pub fn redirect(to: &str) -> Self {
        let (status, head) = ("302 Found".to_owned(), vec![format!("Location: {to}")]);
        Self { status, head, ..Self::of("") }
    }

    /// An answer with this status.
    pub fn status(status: &str) -> Self {
        Self { status: status.to_owned(), ..Self::of("no\n") }
    }
}

/// One `GET` that it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of which path.
    pub path: String,
    /// From where on.
    pub from: Option<usize>,
    /// In which version.
    pub version: Option<String>,
    /// How many bytes of the file were given.
    pub sent: usize,
}

#[derive(Debug, Default)]
struct World {
    pages: BTreeMap<String, Page>,
    asked: Vec<Asked>,
}

/// The server; its threads end with the test's process.
#[derive(Debug, Clone)]
pub struct Web {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
}

impl Web {
    /// Starts one at an address of this machine: on `10.77.0.1` racks reach it, on `127.0.0.1` they
    /// do not.
    pub fn on(address: &str) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).context("a place for a web server")?;
        let web = Self { address: listener.local_addr()?, world: Arc::default() };
        let server = web.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || drop(server.answer(stream)));
            }
        });
        Ok(web)
    }

    /// Answers a path from now on.
    pub fn put(&self, path: &str, page: Page) {
        self.world().pages.insert(path.to_owned(), page);
    }

    /// Returns the address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns every `GET` so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.world().asked.clone()
    }

    /// Returns how many bytes of files were given so far.
    pub fn sent(&self) -> usize {
        self.world().asked.iter().map(|asked| asked.sent).sum()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, mut stream: TcpStream) -> Result<()> {
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut piece)?;
            anyhow::ensure!(read > 0, "nothing was asked");
            head.extend_from_slice(&piece[..read]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let from = field("range").and_then(|range| {
            range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        let (version, is_get) = (field("if-range"), method == "GET");
        let (page, cut) = self.page(path, is_get);
        if is_get {
            let (path, version) = (path.to_owned(), version.clone());
            self.world().asked.push(Asked { path, from, version, sent: 0 });
        }
        let number = self.world().asked.len().saturating_sub(1);
        let is_same = version.is_none() || version == page.etag;
        let from = from.filter(|_| page.ranges && is_same && page.status.starts_with("200"));
        stream.write_all(head_of(&page, from).as_bytes())?;
        let rest = page.body.get(from.unwrap_or(0)..).unwrap_or_default();
        if is_get {
            let rest = &rest[..cut.unwrap_or(rest.len()).min(rest.len())];
            self.give(&mut stream, rest, page.pace, number)?;
        }
        stream.shutdown(std::net::Shutdown::Write)?;
        // A close with something unread would throw away what is on its way.
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        while stream.read(&mut piece)? > 0 {}
        Ok(())
    }

    /// Returns the page of a path and after how many bytes this answer ends.
    fn page(&self, path: &str, is_get: bool) -> (Page, Option<usize>) {
        let mut world = self.world();
        let Some(page) = world.pages.get_mut(path) else {
            return (Page::status("404 Not Found"), None);
        };
        let given = page.clone();
        let cut = (is_get && !page.cuts.is_empty()).then(|| page.cuts.remove(0));
        (given, cut)
    }

    fn give(
        &self,
        stream: &mut TcpStream,
        bytes: &[u8],
        pace: Option<usize>,
        number: usize,
    ) -> Result<()> {
        let size = pace.map_or(1 << 16, |pace| (pace / 20).max(1));
        for piece in bytes.chunks(size) {
            stream.write_all(piece)?;
            self.world().asked[number].sent += piece.len();
            if pace.is_some() {
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

fn head_of(page: &Page, from: Option<usize>) -> String {
    let whole = page.body.len();
    let (status, range, left) = match from {
        None => (page.status.clone(), None, whole),
        Some(from) if from >= whole => {
            ("416 Range Not Satisfiable".to_owned(), Some(format!("bytes */{whole}")), 0)
        }
        Some(from) => {
            let range = format!("bytes {from}-{}/{whole}", whole - 1);
            ("206 Partial Content".to_owned(), Some(range), whole - from)
        }
    };
    let length = match page.length {
        Length::True => Some(left as u64),
        Length::Absent => None,
        Length::Lie(length) => Some(length),
    };
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    let lines = [
        range.map(|range| format!("Content-Range: {range}")),
        length.map(|length| format!("Content-Length: {length}")),
        page.etag.as_ref().map(|etag| format!("ETag: {etag}")),
    ];
    for line in lines.iter().flatten().chain(&page.head) {
        head += &format!("{line}\r\n");
    }
    head + "\r\n"
}
