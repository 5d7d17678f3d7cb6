"""What a stream leaves behind: selected visual tokens for a while (`visual`), captions for good (`store`).

`embedders` and `retrieval` find the captions a question is about. Nothing is imported here: the store and the
retrieval need no PyTorch.
"""
