import "reflect-metadata";
import { NestFactory } from "@nestjs/core";
import { AppModule } from "./app.module";

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ["error", "warn"] });
  app.enableShutdownHooks(["SIGTERM", "SIGINT"], { useProcessExit: true });
  await app.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? "127.0.0.1");
}

main().catch((error: Error) => {
  console.error(`error: ${error.message}`);
  process.exit(2);
});
