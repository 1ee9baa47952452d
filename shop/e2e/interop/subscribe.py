"""python3 subscribe.py QUEUE TYPE…: prints each event of these types as a line of JSON."""
import json, os, sys
import pika

queue, *types = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["WINGBEAT_BROKER"]))
channel = connection.channel()
quorum = {"x-queue-type": "quorum", "x-delivery-limit": 20}
channel.queue_declare(queue, durable=True, arguments=quorum)
for type in types:
    channel.queue_bind(queue, "wingbeat.events", type)
channel.basic_qos(prefetch_count=64)


def on_event(channel, method, properties, body):
    event = {"messageId": properties.message_id, "contentType": properties.content_type,
             "deliveryMode": properties.delivery_mode, "headers": properties.headers,
             "data": json.loads(body)}
    print(json.dumps(event), flush=True)
    channel.basic_ack(method.delivery_tag)  # After the work; else RabbitMQ redelivers it.


channel.basic_consume(queue, on_event)
print(json.dumps({"subscribed": queue}), flush=True)
channel.start_consuming()
