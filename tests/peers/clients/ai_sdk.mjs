// The Vercel AI SDK with its provider for OpenAI-compatible servers:
// node ai_sdk.mjs http://127.0.0.1:8000/v1
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { KEY, MODEL, QUIET, TOOL, WEATHER, WHO, run } from "./said.mjs";

const provider = createOpenAICompatible({
  name: "local",
  baseURL: process.argv[2],
  apiKey: KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const options = (prompt) => ({
  model: provider(MODEL),
  prompt,
  temperature: 0,
  maxOutputTokens: 200,
  maxRetries: 0,
  providerOptions: { local: QUIET },
});
const weather = (asked) => ({
  get_weather: tool({
    description: TOOL.function.description,
    inputSchema: jsonSchema(TOOL.function.parameters),
    execute: async ({ city }) => {
      asked.push(city);
      return "18 degrees, sunny";
    },
  }),
});

await run("AI SDK", {
  async "an answer"() {
    const { text, finishReason, usage } = await generateText(options("Who are you?"));
    assert.equal(text, WHO);
    assert.equal(finishReason, "stop");
    assert.ok(usage.outputTokens > 5);
  },
  async "a stream"() {
    const stream = streamText(options("Who are you?"));
    let said = "";
    for await (const part of stream.textStream) said += part;
    assert.equal(said, WHO);
    assert.ok((await stream.usage).outputTokens > 5);
  },
  async "reasoning is told apart"() {
    const asked = options("What is the capital of France?");
    const settings = { ...asked, providerOptions: {}, maxOutputTokens: 300 };
    const { reasoningText, text } = await generateText(settings);
    assert.ok(reasoningText.length > 0);
    assert.ok(text.includes("Paris") && !text.includes("think>"), text);
  },
  async "a tool that is run"() {
    const asked = [];
    const settings = { ...options(WEATHER), tools: weather(asked), stopWhen: stepCountIs(3) };
    const { text } = await generateText(settings);
    assert.deepEqual(asked, ["Paris"]);
    assert.ok(text.length > 0);
  },
  async "a streamed tool that is run"() {
    const asked = [];
    const settings = { ...options(WEATHER), tools: weather(asked), stopWhen: stepCountIs(3) };
    const stream = streamText(settings);
    await stream.consumeStream();
    assert.deepEqual(asked, ["Paris"]);
    assert.ok((await stream.text).length > 0);
  },
  async "an object"() {
    const schema = jsonSchema({
      type: "object",
      properties: { city: { enum: ["Paris", "Rome"] } },
      required: ["city"],
      additionalProperties: false,
    });
    const { object } = await generateObject({ ...options("Name a city."), schema });
    assert.ok(["Paris", "Rome"].includes(object.city));
  },
});
