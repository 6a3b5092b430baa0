"""Two-tower retrieval over a FAISS index. May not import another stage."""
