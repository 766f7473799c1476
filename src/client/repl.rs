//! `chat` and `complete`: a person talks to a server.

use super::api::{Api, ApiFailure};
use crate::config::{ApiServer, ChatSettings, CompleteSettings};
use serde_json::{Map, Value, json};
use std::io::{BufRead, Write};
use std::time::Instant;

/// Runs `chat`; the error is for the person.
///
/// # Errors
/// A server that cannot be reached or says no.
pub async fn chat(settings: &ChatSettings, out: &mut impl Write) -> Result<(), String> {
    let session = Session::open(&settings.server, settings.stats, out).await?;
    let mut conversation = Vec::new();
    if let Some(prompt) = &settings.system_prompt {
        conversation.push(json!({"role": "system", "content": prompt}));
    }
    let mut turn = async |message: &str, out: &mut _| {
        conversation.push(json!({"role": "user", "content": message}));
        let body = json!({"messages": conversation});
        let reply = session.ask("/chat/completions", body, out).await?;
        conversation.push(json!({"role": "assistant", "content": reply}));
        Ok::<_, String>(())
    };
    if let Some(message) = &settings.quick {
        return turn(message, out).await;
    }
    say(out, "Please enter a message for the chat model:\n")?;
    while let Some(message) = read_line(out).await? {
        turn(&message, out).await?;
    }
    Ok(())
}

/// Runs `complete`; the error is for the person.
///
/// # Errors
/// A server that cannot be reached or says no.
pub async fn complete(settings: &CompleteSettings, out: &mut impl Write) -> Result<(), String> {
    let session = Session::open(&settings.server, settings.stats, out).await?;
    let body = |prompt: &str| match settings.max_tokens {
        Some(max_tokens) => json!({"prompt": prompt, "max_tokens": max_tokens}),
        None => json!({"prompt": prompt}),
    };
    if let Some(prompt) = &settings.quick {
        return session.ask("/completions", body(prompt), out).await.map(drop);
    }
    say(out, "Please enter prompt to complete:\n")?;
    while let Some(prompt) = read_line(out).await? {
        session.ask("/completions", body(&prompt), out).await?;
    }
    Ok(())
}

fn say(out: &mut impl Write, text: &str) -> Result<(), String> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| format!("cannot write: {error}"))
}

/// One line of stdin; `None` at its end.
async fn read_line(out: &mut impl Write) -> Result<Option<String>, String> {
    say(out, "> ")?;
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|count| (count > 0).then_some(line))
    });
    let line = read.await.map_err(|error| error.to_string())?;
    let line = line.map_err(|error| format!("cannot read: {error}"))?;
    Ok(line.map(|line| line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// A server and the model that is asked.
struct Session {
    api: Api,
    url: String,
    model: String,
    stats: bool,
}

impl Session {
    async fn open(server: &ApiServer, stats: bool, out: &mut impl Write) -> Result<Self, String> {
        // OpenAI's client sends this where there is no key.
        let api = Api::new(Some(server.api_key.as_deref().unwrap_or("EMPTY")), &[])?;
        let model = match &server.model {
            Some(model) => model.clone(),
            None => first_model(&api, &server.url).await?,
        };
        say(out, &format!("Using model: {model}\n"))?;
        Ok(Self { api, url: server.url.clone(), model, stats })
    }

    /// Sends one request, prints what comes, and gives the text back.
    async fn ask(&self, path: &str, body: Value, out: &mut impl Write) -> Result<String, String> {
        let mut request = Map::from_iter([("model".to_owned(), Value::from(self.model.as_str()))]);
        request.insert("stream".to_owned(), Value::Bool(true));
        if self.stats {
            request.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        if let Value::Object(body) = body {
            request.extend(body);
        }
        let url = format!("{}{path}", self.url);
        let body = Value::Object(request).to_string().into();
        let mut printer = Printer::new(out);
        let mut events = self.api.stream(&url, None, body).await.map_err(|e| e.to_string())?;
        while let Some(data) = events.next().await.map_err(|error| error.to_string())? {
            let chunk: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
            if let Some(error) = chunk.get("error") {
                return Err(error.to_string());
            }
            printer.show(&chunk)?;
        }
        printer.end(self.stats)
    }
}

async fn first_model(api: &Api, url: &str) -> Result<String, String> {
    let url = format!("{url}/models");
    let list = api.get(&url).await.map_err(|error| match error {
        ApiFailure::Connection(error) => format!("{url}: {error}"),
        other => other.to_string(),
    })?;
    let first = list["data"][0]["id"].as_str().map(str::to_owned);
    first.ok_or_else(|| format!("{url} names no model"))
}

/// A text that is not empty.
fn piece(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// Writes a stream as it comes: reasoning in `<think>`, then the text.
struct Printer<'o, W: Write> {
    out: &'o mut W,
    text: String,
    reasoning: bool,
    since: Instant,
    first: Option<f64>,
    tokens: u64,
}

impl<'o, W: Write> Printer<'o, W> {
    fn new(out: &'o mut W) -> Self {
        let text = String::new();
        Self { out, text, reasoning: false, since: Instant::now(), first: None, tokens: 0 }
    }

    fn show(&mut self, chunk: &Value) -> Result<(), String> {
        if let Some(tokens) = chunk["usage"]["completion_tokens"].as_u64() {
            self.tokens = tokens;
        }
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        let thought = piece(&delta["reasoning"]).or_else(|| piece(&delta["reasoning_content"]));
        let text = piece(&delta["content"]).or_else(|| piece(&choice["text"]));
        if self.first.is_none() && (thought.is_some() || text.is_some()) {
            self.first = Some(self.since.elapsed().as_secs_f64());
        }
        if let Some(thought) = thought {
            if !self.reasoning {
                self.reasoning = true;
                say(self.out, "<think>\n")?;
            }
            say(self.out, thought)?;
        }
        if let Some(text) = text {
            if std::mem::take(&mut self.reasoning) {
                say(self.out, "\n</think>\n")?;
            }
            self.text.push_str(text);
            say(self.out, text)?;
        }
        Ok(())
    }

    fn end(self, stats: bool) -> Result<String, String> {
        if self.reasoning {
            say(self.out, "\n</think>")?;
        }
        say(self.out, "\n")?;
        let total = self.since.elapsed().as_secs_f64();
        if let Some(first) = self.first.filter(|_| stats) {
            let (tokens, rate) = (self.tokens, self.tokens as f64 / total);
            let lines = format!(
                "TTFT: {:.2} ms\nTPS:  {rate:.2} tokens/s ({tokens} tokens in {total:.2}s)\n",
                first * 1000.0
            );
            say(self.out, &lines)?;
        }
        Ok(self.text)
    }
}
