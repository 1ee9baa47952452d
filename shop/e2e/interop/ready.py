"""python3 ready.py: reads names of queues, one JSON string a line, and prints the number of messages in each that no
consumer has."""
import json, os, sys
import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["WINGBEAT_BROKER"]))
channel = connection.channel()
for line in sys.stdin:
    queue = json.loads(line)
    asked = channel.queue_declare(queue, passive=True)
    print(json.dumps({"queue": queue, "ready": asked.method.message_count}), flush=True)
