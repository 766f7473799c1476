// The official openai client for Node: node openai_node.mjs http://127.0.0.1:8000/v1
import assert from "node:assert/strict";
import OpenAI from "openai";
import { KEY, MODEL, QUIET, TOOL, WEATHER, WHO, run } from "./said.mjs";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: KEY, maxRetries: 0 });
const fields = (text, more) => ({
  model: MODEL,
  messages: [{ role: "user", content: text }],
  temperature: 0,
  max_tokens: 200,
  ...QUIET,
  ...more,
});
const chat = (text = "Who are you?", more = {}) =>
  client.chat.completions.create(fields(text, more));

await run("openai (Node)", {
  async "models are listed"() {
    const models = await client.models.list();
    assert.deepEqual(models.data.map((model) => model.id), [MODEL]);
  },
  async "an answer"() {
    const reply = await chat();
    assert.equal(reply.choices[0].message.content, WHO);
    assert.equal(reply.choices[0].finish_reason, "stop");
    const { prompt_tokens, completion_tokens, total_tokens } = reply.usage;
    assert.equal(total_tokens, prompt_tokens + completion_tokens);
  },
  async "a stream"() {
    let said = "";
    let usage;
    const options = { stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await chat("Who are you?", options)) {
      said += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(said, WHO);
    assert.ok(usage.completion_tokens > 5);
  },
  async "the stream helper"() {
    const stream = client.chat.completions.stream(fields("Who are you?", {}));
    assert.equal(await stream.finalContent(), WHO);
  },
  async "a tool that is run"() {
    const asked = [];
    const tool = {
      type: "function",
      function: {
        ...TOOL.function,
        parse: JSON.parse,
        function: ({ city }) => {
          asked.push(city);
          return "18 degrees, sunny";
        },
      },
    };
    const runner = client.chat.completions.runTools(fields(WEATHER, { tools: [tool] }));
    assert.ok(await runner.finalContent());
    assert.deepEqual(asked, ["Paris"]);
  },
  async "a streamed tool call"() {
    const stream = client.chat.completions.stream(fields(WEATHER, { tools: [TOOL] }));
    const reply = await stream.finalChatCompletion();
    const [call] = reply.choices[0].message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
  },
  async "a structured answer"() {
    const schema = {
      type: "object",
      properties: { city: { enum: ["Paris", "Rome"] } },
      required: ["city"],
      additionalProperties: false,
    };
    const format = { type: "json_schema", json_schema: { name: "place", schema, strict: true } };
    const reply = await chat("Name a city.", { response_format: format });
    assert.ok(["Paris", "Rome"].includes(JSON.parse(reply.choices[0].message.content).city));
  },
  async "a response"() {
    const fields = { model: MODEL, input: "Who are you?", temperature: 0, ...QUIET };
    const reply = await client.responses.create(fields);
    assert.equal(reply.output_text, WHO);
    assert.equal(reply.status, "completed");
  },
  async "a streamed response"() {
    const fields = { model: MODEL, input: "Who are you?", temperature: 0, stream: true, ...QUIET };
    let said = "";
    let last;
    for await (const event of await client.responses.create(fields)) {
      said += event.type === "response.output_text.delta" ? event.delta : "";
      last = event.type;
    }
    assert.equal(said, WHO);
    assert.equal(last, "response.completed");
  },
  async "errors have their classes"() {
    await assert.rejects(chat("x", { temperature: 7 }), OpenAI.BadRequestError);
    await assert.rejects(chat("x", { model: "nope" }), OpenAI.NotFoundError);
    const stranger = new OpenAI({ baseURL: process.argv[2], apiKey: "wrong", maxRetries: 0 });
    await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  },
  async "an aborted stream"() {
    const controller = new AbortController();
    const story = "Tell me a story about a fox named Mira.";
    const body = fields(story, { stream: true, max_tokens: 500 });
    const stream = await client.chat.completions.create(body, { signal: controller.signal });
    for await (const _ of stream) controller.abort();
    assert.equal((await chat()).choices[0].message.content, WHO);
  },
});
