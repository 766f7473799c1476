// Graphs: what was recorded, run again. An executable graph is a copy, which work under way keeps.
#include "control.h"
#include "stream.h"

struct gbemu::Executable {
    std::shared_ptr<const Graph> graph;
};

static void run(const gbemu::Graph& graph) {
    for (const gbemu::Work& work : graph.nodes) {
        if (gbemu::device_state() != CUDA_SUCCESS) {
            return;
        }
        work();
    }
}

GB_API CUresult cuGraphCreate(CUgraph* graph, unsigned) {
    GB_ENTER();
    *graph = new gbemu::Graph();
    return CUDA_SUCCESS;
}

// With the nodes themselves left out, their number.
GB_API CUresult cuGraphGetNodes(CUgraph graph, void** nodes, size_t* count) {
    GB_ENTER();
    if (nodes != nullptr) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    *count = graph->nodes.size();
    return CUDA_SUCCESS;
}

GB_API CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
    GB_ENTER();
    *exec = new gbemu::Executable{std::make_shared<gbemu::Graph>(*graph)};
    return CUDA_SUCCESS;
}

GB_API CUresult cuGraphUpload(CUgraphExec, CUstream) {
    GB_ENTER();
    return CUDA_SUCCESS;
}

GB_API CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    GB_ENTER();
    const std::shared_ptr<const gbemu::Graph> graph = exec->graph;
    return gbemu::enqueue(stream, [graph] { run(*graph); });
}

GB_API CUresult cuGraphDestroy(CUgraph graph) {
    GB_ENTER_HOST();
    delete graph;
    return CUDA_SUCCESS;
}

GB_API CUresult cuGraphExecDestroy(CUgraphExec exec) {
    GB_ENTER_HOST();
    delete exec;
    return CUDA_SUCCESS;
}
