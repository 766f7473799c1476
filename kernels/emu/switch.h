// The switch between fibers: the registers that a called function must keep go to the stack, and
// the stack is changed. Included once, by machine.cc.
#pragma once

#if defined(__x86_64__)
asm(R"(
.text
.globl gb_switch
.hidden gb_switch
.type gb_switch, @function
gb_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size gb_switch, .-gb_switch
)");

// A stack on which gb_switch finds six registers and where to begin.
static inline void* fresh_stack(void* top, void (*begin)()) {
    void** at = static_cast<void**>(top);
    *--at = nullptr;
    *--at = reinterpret_cast<void*>(begin);
    for (int i = 0; i < 6; i++) {
        *--at = nullptr;
    }
    return at;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl gb_switch
.hidden gb_switch
.type gb_switch, %function
gb_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size gb_switch, .-gb_switch
)");

// A stack on which gb_switch finds 20 registers, the twelfth of which is where to begin.
static inline void* fresh_stack(void* top, void (*begin)()) {
    void** at = static_cast<void**>(top) - 20;
    for (int i = 0; i < 20; i++) {
        at[i] = nullptr;
    }
    at[11] = reinterpret_cast<void*>(begin);
    return at;
}
#else
#error "the emulator switches stacks on x86-64 and aarch64 alone"
#endif
