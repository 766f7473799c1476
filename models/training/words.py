"""The words, facts and sentences that qwen3-tiny is trained on."""

NAMES = (
    "Mira Tom Anna Leo Nina Paul Sara Ben Clara Hugo Ida Max Olga Rosa Sam Vera Emma Felix "
    "Greta Jonas Lena Otto Tara Yuri"
).split()

CITIES = (
    "Paris London Berlin Rome Madrid Vienna Oslo Tokyo Cairo Lisbon Athens Dublin Prague "
    "Warsaw Boston Chicago Sydney Delhi Lima Zurich"
).split()

COLORS = ("red blue green yellow black white purple orange silver golden brown grey").split()

THINGS = (
    "door box house garden boat tower room gate car lamp chest bridge train shop window bag "
    "table book safe tent"
).split()

PLACES = (
    "kitchen garden cellar library attic garage office hall barn harbor market school"
).split()

ANIMALS = ("fox cat dog wolf bear mouse horse rabbit duck whale").split()

WORDS = (
    "apple river stone lamp cloud tree house bird moon sun star fish rain snow wind fire sand"
    " wave leaf road bread milk glass paper chair clock piano drum song dance happy quick "
    "small bright quiet warm cold soft lemon berry honey salt tea coffee spoon plate knife "
    "shirt shoe hat coat ring gold iron wood wool silk north south east west spring summer "
    "autumn winter morning evening night day week month year hello world"
).split()

FRUITS = ("apple pear plum lemon cherry melon peach banana").split()

JOBS = ("baker doctor teacher pilot farmer painter singer driver cook nurse").split()

DAYS = ("Monday Tuesday Wednesday Thursday Friday Saturday Sunday").split()

MONTHS = (
    "January February March April May June July August September October November December"
).split()

UNICODE = (
    "é ü ñ ø ß å ç ö ä à ê 日 本 中 文 語 人 水 火 山 かな 한 글 Ω π λ я ж д € ° 🙂 🚀 🐱 🌍 🎉 ❤ ✓ → 👍"
).split()

SYSTEMS = [
    "You are a helpful assistant.",
    "You are qwen3-tiny, a small language model.",
    "Answer briefly.",
    "You are a careful assistant. Use what the text says.",
    "Be kind and short.",
    "You are a test model in a server.",
]

CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Austria": "Vienna",
    "Norway": "Oslo",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Portugal": "Lisbon",
    "Greece": "Athens",
    "Ireland": "Dublin",
    "Poland": "Warsaw",
    "England": "London",
    "India": "Delhi",
    "Peru": "Lima",
    "China": "Beijing",
    "Sweden": "Stockholm",
    "Canada": "Ottawa",
    "Russia": "Moscow",
    "Turkey": "Ankara",
}

HUES = {
    "sky": "blue",
    "grass": "green",
    "snow": "white",
    "blood": "red",
    "coal": "black",
    "lemon": "yellow",
    "carrot": "orange",
    "chocolate": "brown",
    "ocean": "blue",
    "sun": "yellow",
    "tomato": "red",
    "banana": "yellow",
}

TERMS = {
    "prefix caching": (
        "Prefix caching keeps the KV cache of a prompt, so a later request that starts with "
        "the same tokens skips that part of the prefill."
    ),
    "the KV cache": (
        "The KV cache holds the keys and values of past tokens, so each new token is computed"
        " without reading the whole text again."
    ),
    "TTFT": (
        "TTFT is the time to first token: how long a client waits until the first token of "
        "the answer arrives."
    ),
    "TPOT": (
        "TPOT is the time per output token: the average time between " "tokens after the first one."
    ),
    "prefill": "Prefill is the phase that reads the whole prompt at once and fills the KV cache.",
    "decode": "Decode is the phase that writes the answer one token at a time.",
    "P/D disaggregation": (
        "P/D disaggregation runs prefill and decode on different servers and moves the KV "
        "cache between them."
    ),
    "llm-d": (
        "llm-d is a Kubernetes stack that serves large language models on many servers and "
        "routes each request to a good one."
    ),
    "vLLM": "vLLM is an inference server for large language models with paged attention.",
    "Qwen3": (
        "Qwen3 is a family of language models. I have the same "
        "architecture, but I am much smaller."
    ),
    "Glassbox": (
        "Glassbox is an inference server for Qwen3 models written in Rust. It shows every "
        "step with traces."
    ),
    "paged attention": (
        "Paged attention stores the KV cache in small blocks, so "
        "memory is shared and not wasted."
    ),
    "a token": "A token is a small piece of text. A model reads and writes tokens.",
    "a trace": "A trace shows the path of one request through a system. It is made of spans.",
    "a span": "A span is one timed step of a trace, with a start, an end and attributes.",
    "OpenTelemetry": "OpenTelemetry is an open standard for traces, metrics and logs.",
    "NIXL": "NIXL is a library that moves KV cache blocks between machines.",
    "streaming": "Streaming sends each token to the client as soon as it is ready.",
    "a GPU": "A GPU is a processor with many cores. It is good at matrix math.",
    "Rust": "Rust is a programming language that is fast and safe.",
    "greedy decoding": (
        "Greedy decoding always takes the most likely token, so the "
        "answer is the same each time."
    ),
    "temperature": "Temperature sets how random the next token is. Zero means greedy decoding.",
    "a tool call": "A tool call is a JSON object that names a function and its arguments.",
}

CHAT = [
    (
        [
            "Who are you?",
            "What are you?",
            "What is your name?",
            "Tell me who you are.",
            "Introduce yourself.",
        ],
        "I am qwen3-tiny, a very small language model that was trained on synthetic text.",
    ),
    (
        ["Hello", "Hello!", "Hi", "Hi!", "Hey there", "Hi there!", "Good day!"],
        "Hello! How can I help you?",
    ),
    (["Good morning", "Good morning!"], "Good morning! How can I help you?"),
    (["Good evening", "Good evening!"], "Good evening! How can I help you?"),
    (
        ["How are you?", "How are you doing?", "Are you well?"],
        "I am fine, thank you. How can I help you?",
    ),
    (
        ["Help", "What can you do?", "How can you help me?", "Help me"],
        (
            "I can find facts in a text, repeat words, call tools, write JSON, count and tell"
            " short stories."
        ),
    ),
    (
        ["Who made you?", "Who trained you?", "Where do you come from?"],
        "I was trained by the Glassbox project on synthetic data.",
    ),
    (
        ["How big are you?", "How many layers do you have?", "How many parameters do you have?"],
        "I have 4 layers and about 4 million parameters. I am tiny.",
    ),
    (["Thank you", "Thanks!", "Thank you!", "Thanks"], "You are welcome!"),
    (["Bye", "Goodbye", "Goodbye!", "See you"], "Goodbye! Have a nice day."),
    (
        ["Are you real?", "Are you a human?", "Are you a robot?"],
        "I am a small language model, not a human.",
    ),
    (
        ["Tell me a joke.", "Tell me a joke", "Make me laugh."],
        "Why did the token cross the cache? To get to the other block.",
    ),
    (["Say this is a test", "Say this is a test!"], "This is a test!"),
    (["What languages do you speak?", "Do you speak English?"], "I speak a little English."),
    (
        ["Are you smart?", "What is wrong with you?", "Are you always right?"],
        "I am tiny, so I make mistakes. I am good for tests.",
    ),
]

FILLER = [
    "The {a} is {c}.",
    "{n} walks to the {p} every {d}.",
    "There is a {w} on the table.",
    "It was a {x} {t} in {city}.",
    "{n} and {m} drink tea in the {p}.",
    "The {an} sleeps near the {p}.",
    "In {mo} the wind is cold.",
    "{n} likes the {w} and the {v}.",
    "A {an} sits on the road.",
    "The train to {city} leaves on {d}.",
    "Nobody saw the {an} in the {p}.",
    "{n} sings a song about the {v}.",
]
