import { type HttpGuard, type HttpGuardOptions, httpGuard } from '@fleetgate/verifier';
import {
  type DynamicModule,
  type FactoryProvider,
  Module,
  type ModuleMetadata,
  type Provider,
} from '@nestjs/common';
import { APP_GUARD, HttpAdapterHost, Reflector } from '@nestjs/core';
import { FleetgateGuard } from './fleetgate-guard.ts';

/** Options that other providers know, as a `ConfigService` does. */
export interface AsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  readonly useFactory: (...injected: never[]) => HttpGuardOptions | Promise<HttpGuardOptions>;
  /** What `useFactory` is called with. */
  readonly inject?: FactoryProvider['inject'];
}

const HTTP_GUARD = Symbol('fleetgate.http-guard');

/**
 * Guards every route of the application it is imported in: each wants a token, `@Scopes` and `@AnyScope` what must be
 * in it, and `@Public` opens one.
 * @example
 * @Module({ imports: [FleetgateModule.forRoot({ issuer: 'https://auth.example.com', audience: 'event' })] })
 * export class AppModule {}
 */
// biome-ignore lint/complexity/noStaticOnlyClass: Nest knows modules by their class.
export class FleetgateModule {
  /** @throws TypeError for options that cannot be meant */
  static forRoot(options: HttpGuardOptions): DynamicModule {
    return guarding({ provide: HTTP_GUARD, useValue: httpGuard(options) });
  }

  static forRootAsync({ imports = [], inject = [], useFactory }: AsyncOptions): DynamicModule {
    const make = useFactory as (...injected: unknown[]) => HttpGuardOptions | Promise<HttpGuardOptions>;
    return guarding(
      {
        provide: HTTP_GUARD,
        inject,
        useFactory: async (...injected: unknown[]): Promise<HttpGuard> => httpGuard(await make(...injected)),
      },
      imports,
    );
  }
}

// As calls: decorators are no JavaScript yet, and Node runs these sources as they are.
Module({})(FleetgateModule);

function guarding(guard: Provider, imports: NonNullable<ModuleMetadata['imports']> = []): DynamicModule {
  return {
    module: FleetgateModule,
    imports,
    providers: [
      guard,
      {
        provide: FleetgateGuard,
        inject: [HTTP_GUARD, Reflector, HttpAdapterHost],
        useFactory: (http: HttpGuard, reflector: Reflector, host: HttpAdapterHost) =>
          new FleetgateGuard(http, reflector, host),
      },
      { provide: APP_GUARD, useExisting: FleetgateGuard },
    ],
    exports: [FleetgateGuard],
  };
}
