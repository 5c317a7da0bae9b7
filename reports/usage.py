"""What `python run.py --help` and `python run.py VERB --help` print."""

PROGRAM = """\
ccreid-bench: a benchmark for clothes-changing person re-identification.

usage: python run.py [verb] key=value …          (no verb: train)

  python run.py method=differ dataset=synthetic               first five minutes, no data
  python run.py method=differ dataset=ltcc data=DIR           the paper's recipe on LTCC
  python run.py method=baseline,differ dataset=ltcc seed=0,1  comma lists: every combination, one run each
  python run.py suite=differ_main data=DIR                    a paper's table: ours beside the published numbers

verbs:
{verbs}

`python run.py VERB --help` says more. The same command again goes on with a run that was broken off.
exit codes: 0 done · 2 usage · 3 data problem · 4 diverged · 75 stopped by a signal after a checkpoint"""

TRAIN = """\
usage: python run.py [train] method=NAME dataset=NAME [key=value …]
       python run.py suite=NAME [dataset=NAME] [method=NAME] [reduced=true] [key=value …]

Train, select, evaluate and record one experiment, or every combination of comma lists. suite=NAME runs what is missing
of a paper's table (`list suites`, `show suite=NAME`) over the datasets that are in DIR, says what is left out and why,
and prints ours beside the published numbers; the table goes to OUT/suites/NAME/ (out=report, format=md,tex,csv,html).

  data=DIR            folder that holds the datasets (or the variable CCREID_DATA)
  seed=0,1,2          one run each; seed=0..9 is ten
  config=FILE         YAML or Python with any of the keys; `_base_` inherits
  plugin=FILE.py      a method or dataset of your own, docs/add-a-method.md (evaluate, show, list, check take it too)
  ablation=NAME       a row of the method's ablation table (`show method=NAME`)
  print=config        print every key, its value and where it came from, and stop
  jobs=2              so many runs at once, each in a process of its own; what fails does not stop the others
  dry=true            list the runs with their ids and what is done, and stop
  runs=DIR cache=DIR device=cuda:0 quiet=true …       where and how, not what: `show method=NAME`

Several GPUs for one run: torchrun --nproc-per-node 4 run.py method=… dataset=…"""

ABLATE = """\
usage: python run.py ablate method=NAME dataset=NAME [seed=0,1,2] [rows=NAME,NAME | grid=true] [key=value …]

Which parts of a method matter? Runs what is missing of its ablation table, prints the table and writes it to
OUT/ablations/. The rows are the method's own (`show method=NAME`); where it names none, each loss term that is on is
left out once. Rows that are one configuration on this dataset run once; the caption says whether they were re-tuned.

  rows=NAME,NAME      these rows beside the full model; without_TERM and without_TERM+TERM leave out loss terms
  grid=true           every combination of the loss terms that are on, at least one on
  retune=10           first tune what a row does not set, with so many trials each, as `sweep` does (space.KEY=RANGE)
  dry=true            list the runs with their rows and what is done, and stop
  out=report format=md,tex,csv,html      where the table goes, and as what
  jobs=2 config=FILE plugin=FILE.py data=DIR train.epochs=20 …      as for `train`; they hold for every row"""

SWEEP = """\
usage: python run.py sweep method=NAME dataset=NAME [trials=50] [workers=1] [seed=0,1] [key=value …]

Tune the method's loss weights and other tunables (`show method=NAME` has their ranges). A trial is worth the mean over
its seeds of the headline protocol's mAP between training identities that are held out; the test split stays closed. The
paper's configuration is the first trial. At the end the best trials are run again on fresh seeds, the best of these is
chosen, and only then it and the paper's configuration are tested. The same command again goes on.

  trials=50 workers=4     how many, and how many at once: one per GPU, or sharing the cores
  seed=0,1                of every trial; one without prospect is pruned by epoch and by seed
  space.KEY=RANGE         0.1..3, 0.1..3:log, 0..1/0.25, 'a|b|c' (quoted), or off; space=FILE (YAML) has several
  objective=NAME,NAME     cloth-changing, standard, …, seconds; several give a Pareto front
  sampler=tpe|gp|qmc|random|grid     sampler_seed=0     pruner=median|none     prune_from=EPOCH
  confirm=3 confirm_seeds=3          how many of the best, on how many fresh seeds; confirm=0 leaves it out
  study=NAME              its name; made of what it searches when not given
  storage=postgresql://USER@HOST/DB  for several machines (or CCREID_STORAGE); a journal beside the runs when not given
  join=true               on another machine: work on the trials, leave confirming to the first command
  grace=60                seconds without a sign of life after which a worker of a database counts as dead
  launcher=slurm slurm.partition=… slurm.time=240 …  workers as jobs of a cluster; wait=false only submits them
  config=FILE ablation=NAME data=DIR runs=DIR device=cuda …     as for train

docs/sweeps.md and docs/several-machines.md say more."""

EVALUATE = """\
usage: python run.py evaluate run=ID [selection=last|validation|oracle] [protocols=all] [evaluate.KEY=VALUE …]
       python run.py evaluate features=FILE.npz dataset=NAME data=DIR [protocols=all] [evaluate.KEY=VALUE …]
       python run.py evaluate checkpoint=FILE method=NAME dataset=NAME data=DIR [protocols=all] [KEY=VALUE …]

Score a finished run again, features that any other code base computed, or a checkpoint that a method's authors wrote,
under chosen options of the evaluation (protocols, metric, flip, normalise, rerank.method). protocols=all takes the
literature's older conventions too, and the first protocol under each option changed alone. The result is written under
the run's evaluations/, runs/features/ or runs/checkpoints/, and leaves the run's own scores alone. Needs no training
data; docs/evaluation.md says how to write FILE.npz."""

LIST = """\
usage: python run.py list WHAT [dataset=NAME] [method=NAME] [runs=DIR]
       WHAT: methods, datasets, protocols, suites, published, runs, studies

published: what papers report under our protocols, each number with its source and how sure it is."""

SHOW = """\
usage: python run.py show method=NAME [dataset=NAME]  |  dataset=NAME  |  suite=NAME  |  run=ID  |  study=NAME

Every key with its default, range and meaning; the paper's recipe; where the released code differs.
study: what a sweep searched and found, what fresh seeds confirmed, and how to go on (`list studies`)."""

CHECK = """\
usage: python run.py check dataset=NAME data=DIR [deep=true] [mask_folder=DIR masks.label_set=SET caption_folder=DIR]

Is the dataset's folder right? Counts against the authors' table, unreadable images, images and people in both train and
test, cameras and outfits, masks and captions, what each protocol leaves, fingerprints. Opens every file, in seconds;
deep=true decodes every image and mask, in minutes. Exit code 3 when something is wrong."""

SYNTHESIZE = """\
usage: python run.py synthesize layout=LAYOUT out=DIR [people=60 test_people=60 seed=0 …]
       python run.py synthesize sheet=FILE.png [people=60 seed=0 …]

Write the synthetic world to disk in a dataset's official layout, with masks and captions, or a contact sheet of it.
LAYOUT is the name of a dataset with files (`list datasets`); then `dataset=LAYOUT data=DIR` reads what was written.
`show dataset=synthetic` lists the options of the world."""

CAPTION = """\
usage: python run.py caption dataset=NAME data=DIR endpoint=http://127.0.0.1:8000/v1 model=NAME [key=value …]

Make DIFFER's text: a vision-language model behind an OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp) describes
every training image under six aspects and sums up each person. The same command again asks only what has no answer yet.

  summary_model=NAME      sums up; the vision-language model when not given
  limit=8                 a trial: the first images only, some shown, no files but the journal
  per_minute=60           most requests started in a minute          parallel=4      most under way at once
  timeout=60              seconds that a request may take            retries=5       repetitions of a question
  backoff=1               seconds of the first pause, doubling       max_tokens=1024 longest answer, or none
  api_key_env=VARIABLE    environment variable that holds the key
  missing=error|drop      images that get no usable answer or are refused: no files yet, or files without them
  split=train             which images; methods read the text of train
  caption_folder=DIR      where the files go; captions/ beside the dataset when not given

The images go to the endpoint: look at the dataset's terms (`show dataset=NAME`) before it is another machine. Exit
code 3 when images got no usable answer. docs/captions.md has the servers' commands, the cost and the files."""

ENCODE = """\
usage: python run.py encode dataset=NAME data=DIR text_model=NAME [weights_file=FILE] [caption_folder=DIR device=cuda]

Turn what `caption` wrote into the features that methods read. text_model: EVA02-CLIP-B-16, EVA02-CLIP-L-14 or
EVA02-CLIP-bigE-14 with open_clip's weights in weights_file, or hashing-D, such as hashing-64, which needs none."""

REPORT = """\
usage: python run.py report [run=ID,ID] [method=NAME] [dataset=NAME] [out=report] [format=md,tex,csv,html] [data=DIR]
       python run.py report suite=NAME [out=report] [format=md,tex,csv,html] [the other words of suite=NAME …]

Every table and figure of the chosen runs (all of `runs` by default), and pages that hold them: OUT/index.html for all,
OUT/runs/ID.html for each, OUT/studies/NAME.html for each sweep, self-contained, to be opened from the disk. What a run
lacks (features, clothing bias, heat maps) is computed where its weights and the dataset's files are there, and kept in
its folder. A run that is damaged or not finished is listed with the reason. The same runs give the same bytes.
suite=NAME prints a paper's table as far as it has been run, and writes it to OUT/suites/NAME/; nothing is run.

  queries=disagree:4+best:2+worst:4     whose nearest gallery images are shown, as for `retrieval`
  faces=blur                          hide heads in pictures
  data=DIR mask_folder=DIR cache=DIR device=cuda …     where files are and what computes, when not as in training
  plugin=FILE.py                      for runs of a method or dataset of your own"""

COMPARE = """\
usage: python run.py compare a=ID b=ID [metric=mAP|R1|R5|R10|R20|mINP] [runs=DIR]

Does one method beat the other? The same queries: difference, interval, p, effect, the smallest difference that could
have been found, and a verdict in words, per protocol.

  a=ID b=ID       a run's id or its beginning: all finished seeds of its configuration
  a=ID,ID         these runs of one configuration only"""

RETRIEVAL = """\
usage: python run.py retrieval run=ID[,ID] [queries=worst:12] [protocol=NAME] [selection=last|validation|oracle] [k=10]
                               [show_ignored=true] [faces=blur] [labels=false] [out=DIR | sheet=FILE.png] [data=DIR]

The nearest gallery images of some queries, one row per run: the query's person framed blue, others red. Pages for print
(PNG and PDF), a strip for each query, and captions, in report/retrieval or DIR; sheet=FILE.png is one small picture.

  queries=worst:12        worst:N, best:N, random:N, disagree:N (first run against last), rows, or parts of image paths
  protocol=NAME           the dataset's headline when not given (`list protocols dataset=NAME`)
  show_ignored=true       also show, greyed, what the protocol ignores; features are computed where the run kept none
  faces=blur              hide heads: by parsing masks where there are some (mask_folder=DIR), else the top of the crop

docs/retrieval.md says how to read them."""

WANDB = """\
usage: python run.py wandb [run=ID,ID] [method=NAME] [dataset=NAME] [wandb=offline|online] [project=NAME] [entity=NAME]

Mirror runs to W&B from their folders: curves, scores, top-10 strips, rankings, tables; sweeps with their trials, tables
and figures. What is there already is left alone. Offline, under runs/.wandb, unless wandb=online is typed; a variable
such as WANDB_MODE uploads nothing.

  again=true          mirror what is there already once more
  faces=blur          hide heads in the strips
  project=NAME        ccreid-bench when not given             entity=NAME    the account's default when not given
  data=DIR            the dataset's images, when they are not where the run found them

While it trains: python run.py method=… dataset=… wandb=offline|online. docs/wandb.md says what goes where."""
