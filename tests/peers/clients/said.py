"""What qwen3-tiny is asked by the client suites, and what it says."""

MODEL = "qwen3-tiny"
KEY = "secret"
WHO = "I am qwen3-tiny, a very small language model that was trained on synthetic text."
WEATHER = "What is the weather in Paris?"
QUIET = {"chat_template_kwargs": {"enable_thinking": False}}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The name of the city."}},
            "required": ["city"],
        },
    },
}
