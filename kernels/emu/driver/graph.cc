// Graphs: what was recorded, run again. An executable graph is a copy.
#include "control.h"
#include "stream.h"

CUresult gbemu::run(const Graph& graph) {
    for (const Work& work : graph.nodes) {
        GB_RETURN_IF_FAILED(work());
    }
    return CUDA_SUCCESS;
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
    *exec = new gbemu::Graph(*graph);
    return CUDA_SUCCESS;
}

GB_API CUresult cuGraphUpload(CUgraphExec, CUstream) {
    GB_ENTER();
    return CUDA_SUCCESS;
}

GB_API CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    GB_ENTER();
    if (!gbemu::is_capturing(stream)) {
        return gbemu::run(*exec);
    }
    const gbemu::Graph copy = *exec;
    return gbemu::enqueue(stream, [copy] { return gbemu::run(copy); });
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
