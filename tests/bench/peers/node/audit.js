// The audit trail's near end: each event is a job before its request is answered.
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { QUEUE, config } from './config.js';

const queue = config.audit
  ? new Queue(QUEUE, {
      connection: new Redis(config.redis),
      defaultJobOptions: {
        attempts: 10,
        backoff: { type: 'exponential', delay: 100 },
        removeOnComplete: true,
        removeOnFail: false,
      },
    })
  : null;

export const record = async (event) => {
  if (queue) await queue.add(event.type, event);
};

export const closeAudit = async () => {
  if (queue) await queue.close();
};
