"""What operators and developers ask, in an order that leaves the server as it was."""

import json

from requests_base import CHAT, CMPL, P, C, raw

JSON = {"content-type": "application/json"}


def get(path):
    raw("GET " + path, "GET", path)


def post(path, body=None, name="", headers=None):
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    raw(f"POST {path} {name or text}", "POST", path, text, headers)


get("/is_paused")
post("/pause?mode=abort")
get("/is_paused")
post("/pause")
post("/resume")
post("/resume")
post("/pause?mode=wait&clear_cache=false")
post("/resume?x=1")
post("/pause?mode=keep")
get("/is_paused")
get("/is_sleeping")
post("/resume")
for query in ["mode=x", "mode=", "mode=ABORT", "clear_cache=x", "mode=x&clear_cache=y",
              "mode=wait&mode=keep"]:
    post("/pause?" + query)
    post("/resume")
for body in [None, "", "{", "[]", "1", "null", "{}", {"request_ids": []}, {"request_ids": ["x"]},
             {"request_ids": ["x", "y"]}, {"request_ids": None}, {"ids": 1}, '"x"', "{} x",
             {"request_ids": "xyz"}]:
    post("/abort_requests", body)
post("/abort_requests", "{}", "as text", {"content-type": "text/plain"})

post("/reset_mm_cache")
post("/reset_encoder_cache")
post("/reset_prefix_cache")
for method in ["GET", "HEAD", "PUT"]:
    for path in ["/pause", "/is_paused", "/sleep", "/reset_mm_cache", "/server_info",
                 "/get_world_size", "/weight_info", "/tokenizer_info", "/start_profile",
                 "/v1/load_lora_adapter", "/fault_tolerance/apply", "/fault_tolerance/status",
                 "/scale_elastic_ep", "/is_scaling_elastic_ep", "/collective_rpc"]:
        if (method, path) != ("GET", "/server_info"):
            raw(f"{method} {path}", method, path)
for path in ["/start_profile", "/stop_profile", "/v1/load_lora_adapter",
             "/v1/unload_lora_adapter", "/fault_tolerance/apply"]:
    post(path, {})

get("/get_world_size?include_dp=false")
get("/get_world_size?include_dp=x")
get("/server_info?config_format=x")
post("/is_scaling_elastic_ep")
post("/is_scaling_elastic_ep", "{", "broken body")
for body in [None, "{", "[]", "{}", {"new_data_parallel_size": 0}, {"new_data_parallel_size": "2"},
             {"new_data_parallel_size": 2, "drain_timeout": 0},
             {"new_data_parallel_size": 2, "drain_timeout": "x"}, {"new_data_parallel_size": 2},
             {"new_data_parallel_size": 1}, {"new_data_parallel_size": True}]:
    post("/scale_elastic_ep", body)
post("/scale_elastic_ep", "{}", "as text", {"content-type": "text/plain"})

for body in [None, "", "{", "{\"a\":}", "[]", "1", "{}", {"model": "x"}, {"messages": "x"},
             {**CHAT, "max_tokens": 0}, {"prompt": []}, {**CHAT, "model": "nope"}, {**CHAT, "n": 0},
             {"messages": [], "prompt": "a"}, {**CMPL, "temperature": 3}, {"input": "x"},
             {"query": "x", "items": ["a"]}, {"text_1": "a", "text_2": "b"}]:
    post("/invocations", body)
post("/invocations", json.dumps(CHAT), "as text", {"content-type": "text/plain"})
post("/invocations", CHAT, "chat")
post("/invocations", CMPL, "completion")
post("/invocations", {**CHAT, "stream": True}, "chat stream")
post("/invocations", {**CMPL, "stream": True}, "completion stream")

for body in [None, "{", "[]", "{}", {"method": None}]:
    post("/collective_rpc", body)

get("/weight_info")
for body in [None, "{", "[]", "{}", {"new_version": 1}, {"new_version": "v1"}]:
    post("/update_weight_version", body)
    get("/weight_info")
for path in ["/init_weight_transfer_engine", "/update_weights"]:
    for body in [None, "{", "[]", "{}", {"init_info": 1, "update_info": 1}]:
        post(path, body)
for body in ["[]", {"weight_version": 1}, "{"]:
    post("/finish_weight_update", body)
for body in [None, "{}", {"action": "x"}, {"action": "compare"}, {"action": 1, "baseline": 1},
             {"action": "compare", "baseline": {"a": 1}}]:
    post("/weight_checker", body)
for query in ["level=3", "level=-1", "level=x", "level=", "mode=x", "level=9&mode=x", "level=1.5"]:
    post("/sleep?" + query)
get("/is_sleeping")
