"""Models over HTTP: whatsit's own interface, the Open Inference Protocol, TorchServe's address, health and metrics.

app                 the application: all addresses, in one place
predictions         POST /predict, POST /predictions/NAME
inference_protocol  /v2, and tensors for what it sends
status              health, labels, metrics
bodies              a request's body -> the pictures in it, within limits
work                pictures -> answers, on a few threads, with a queue that has an end
guard               around every request: who may ask, what is noted, what the answer's headers say
listening           an address, a process that answers there, and how it ends
limits, problems, metrics, access_log, schemas
"""
