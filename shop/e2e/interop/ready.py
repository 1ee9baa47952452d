"""python3 ready.py: reads names of queues, a JSON text a line, and says of each how many messages nobody was handed."""
import json, os, sys
import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["WINGBEAT_BROKER"]))
channel = connection.channel()
for line in sys.stdin:
    queue = json.loads(line)
    asked = channel.queue_declare(queue, passive=True)
    print(json.dumps({"queue": queue, "ready": asked.method.message_count}), flush=True)
