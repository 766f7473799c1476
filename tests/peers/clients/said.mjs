// What qwen3-tiny is asked by the client suites, and what it says.
export const MODEL = "qwen3-tiny";
export const KEY = "secret";
export const WHO =
  "I am qwen3-tiny, a very small language model that was trained on synthetic text.";
export const WEATHER = "What is the weather in Paris?";
export const QUIET = { chat_template_kwargs: { enable_thinking: false } };
export const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the current weather for a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string", description: "The name of the city." } },
      required: ["city"],
    },
  },
};

// Runs checks one after the other; what fails ends the process.
export async function run(client, checks) {
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log(`ok   ${client}: ${name}`);
  }
}
