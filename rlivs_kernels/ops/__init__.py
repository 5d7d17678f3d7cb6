"""One folder an operation: reference, torch, triton and cuda implementations beside the api that picks one."""
